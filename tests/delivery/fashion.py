"""Fashion-MNIST's test images, their labels, and what onnxruntime predicts for them with each model.

The predictions lie beside the models, a digit an image; tests/data/fashion/README.md says how they were made.
"""

import gzip
import os
from functools import cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests/data/fashion"
DATASET = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
COUNT = 10_000

TEACHER = "fashion_teacher.onnx"
MID = "fashion_mid_plain.onnx"
STUDENT = "fashion_student_plain.onnx"
# As they were measured when the models were made.
ACCURACY = {TEACHER: 0.9229, MID: 0.8929, STUDENT: 0.8664}
NAMES = "top trouser pullover dress coat sandal shirt sneaker bag boot".split()


def _read(name: str, header: int) -> np.ndarray:
    packed = gzip.decompress((DATASET / name).read_bytes())
    return np.frombuffer(packed, np.uint8, offset=header)


@cache
def images() -> np.ndarray:
    """[10000, 1, 28, 28], as the models take them."""
    pixels = _read("t10k-images-idx3-ubyte.gz", 16).reshape(COUNT, 1, 28, 28)
    return ((pixels.astype(np.float32) / 255 - 0.5) / 0.5).astype(np.float32)


@cache
def labels() -> np.ndarray:
    return _read("t10k-labels-idx1-ubyte.gz", 8)


@cache
def predicted(model: str) -> np.ndarray:
    """What onnxruntime says of each image."""
    name = model.removeprefix("fashion_").split(".")[0].removesuffix("_plain")
    digits = (MODELS / f"{name}.predictions").read_text().strip()
    return np.array([int(d) for d in digits])


def correct(model: str, of) -> int:
    """How many of these images the model gets right, by onnxruntime."""
    of = np.asarray(of, dtype=int)
    return int((predicted(model)[of] == labels()[of]).sum())
