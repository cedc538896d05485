"""What onnxruntime, which shares no code with the server, makes of the very files it serves."""

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

import repository

SIZE = 224
PHOTOS = [
    repository.ROOT / "models/photos/chelsea.jpg",
    repository.ROOT / "models/photos/coffee.jpg",
    repository.ROOT / "tests/data/photos/rocket.jpg",
    repository.ROOT / "tests/data/photos/flower.jpg",
]
LITE0_LABELS = (repository.ROOT / "models/efficientnet_lite0/labels.txt").read_text().splitlines()


class Reference:
    def __init__(self, models: Path):
        self.models = models
        self.session = cache(self._session)

    def _session(self, model: str, version: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        file = self.models / model / str(version) / "model.onnx"
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(self, model: str, version: int = 1, **inputs) -> dict[str, np.ndarray]:
        """Outputs by name."""
        session = self.session(model, version)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs)))

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return self.run(repository.LITE0, input=pixels)["logits"]


def pixels(photo: Path) -> np.ndarray:
    """One row of the demo model's input, by PIL, by the recipe in its model.toml."""
    image = Image.open(photo).convert("RGB")
    side = int(min(image.size) * SIZE / 256)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.BICUBIC)
    return ((np.asarray(image, dtype=np.float32) - 127) / 128).transpose(2, 0, 1)[None]


def numbers(*shape: int) -> np.ndarray:
    """The same numbers every time, with fractions, of both signs."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32) * 10


def same(got, expected: np.ndarray) -> None:
    """The same type, shape and bits."""
    got = np.asarray(got)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


def near(got, expected: np.ndarray) -> None:
    """The same shape, and float32 results of a few operations, which may be fused or not."""
    got = np.asarray(got)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def alike(got, expected: np.ndarray) -> None:
    """The same shape, and float32 results of a whole network."""
    got = np.asarray(got, dtype=np.float64)
    assert got.shape == expected.shape
    # A logit near zero is what is left of larger numbers that cancel.
    error = np.abs(got - expected) / (np.abs(expected) + 1e-2)
    assert error.max() <= 1e-3, f"off by {error.max():.1e} of itself at {error.argmax()}"


def ranking(row: np.ndarray, count: int) -> list[int]:
    return np.argsort(-row, kind="stable")[:count].tolist()
