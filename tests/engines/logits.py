"""Every engine and precision against onnxruntime's 32-bit answers: the table of docs/engines.md, in Markdown.

    tests/engines/run --logits [--images DIR] [--model NAME=FILE ...]

Photos go through the demo model (and others named by --model that take [n, 3, side, side] in the same
scaling); Fashion-MNIST's test images, where tests/delivery/run has fetched them, through the small classifiers.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from server import ROOT, Server, pairs, put

sys.path.insert(0, str(ROOT / "tests/delivery"))
FASHION = 1000
CHUNK = 8


def photos(directories: list[Path], side: int) -> np.ndarray:
    """The centre of each photo, scaled as the demo model takes it."""
    files = [f for d in directories for f in sorted(d.iterdir()) if f.suffix in (".png", ".jpg")]
    arrays = []
    for file in files:
        image = Image.open(file).convert("RGB")
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        image = image.crop((left, top, left + short, top + short)).resize((side, side), Image.BICUBIC)
        arrays.append(((np.asarray(image, np.float32) - 127) / 128).transpose(2, 0, 1))
    return np.stack(arrays)


def fashion() -> tuple[np.ndarray, np.ndarray] | None:
    import fashion as dataset

    if not dataset.DATASET.is_dir():
        return None
    return dataset.images()[:FASHION], dataset.labels()[:FASHION]


def table(name: str, onnx: Path, images: np.ndarray, labels: np.ndarray | None) -> list[str]:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    takes = session.get_inputs()[0]
    step = CHUNK if isinstance(takes.shape[0], str) else 1
    chunks = [images[at : at + step] for at in range(0, len(images), step)]
    exact = np.concatenate([session.run(None, {takes.name: chunk})[0] for chunk in chunks]).astype(np.float64)
    scale, best = np.abs(exact).max(), exact.argmax(1)
    right = "" if labels is None else f"{(best == labels).mean():.1%}"
    rows = [f"| {name}, {len(images)} images | onnxruntime in Python | f32 | | | | {right} |"]
    with tempfile.TemporaryDirectory() as directory:
        models = Path(directory)
        for engine, precision in pairs():
            put(models, f"{engine}_{precision}", onnx, f'engine = "{engine}"\nprecision = "{precision}"\n')
        with Server(models) as server:
            for engine, precision in pairs():
                model = f"{engine}_{precision}"
                (version,) = server.versions(model)
                if version["state"] != "AVAILABLE":
                    rows.append(f"| | {engine} | {precision} | {version['error'][:60]} | | | |")
                    continue
                outputs = np.concatenate([server.infer(model, takes.name, chunk)[0] for chunk in chunks])
                difference = np.abs(outputs - exact)
                top = outputs.argmax(1)
                right = "" if labels is None else f"{(top == labels).mean():.1%}"
                largest = f"{difference.max():.1e} ({difference.max() / scale:.1e})"
                agree = f"{(top == best).mean():.1%}"
                rows.append(f"| | {engine} | {precision} | {largest} | {difference.mean():.1e} | {agree} | {right} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, action="append", default=[], help="more photos")
    parser.add_argument("--model", action="append", default=[], help="NAME=FILE of another model of photos")
    args = parser.parse_args()
    directories = args.images or [ROOT / "tests/data/photos"]
    print("| model | engine | precision | largest difference (of the largest value) | mean | same best | right |")
    print("|---|---|---|---|---|---|---|")
    models = {"efficientnet_lite0": ROOT / "models/efficientnet_lite0/1/model.onnx"}
    models |= {name: Path(file) for name, file in (model.split("=", 1) for model in args.model)}
    for name, onnx in models.items():
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        side = session.get_inputs()[0].shape[-1]
        print("\n".join(table(name, onnx, photos(directories, side), None)), flush=True)
    if (dataset := fashion()) is None:
        print("Fashion-MNIST's images are not here: tests/delivery/run fetches them", file=sys.stderr)
        return
    for name in ("fashion_student_plain", "fashion_mid_plain", "fashion_teacher"):
        print("\n".join(table(name, ROOT / f"tests/data/fashion/{name}.onnx", *dataset)), flush=True)


if __name__ == "__main__":
    main()
