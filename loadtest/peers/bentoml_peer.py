"""BentoML; small tensors in JSON, large ones as a file."""

from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType
from common import BATCH, WORKERS, session


@bentoml.service(workers=WORKERS, traffic={"timeout": 60})
class Onnx:
    def __init__(self):
        self.session = session()
        given = self.session.get_inputs()[0]
        self.input, self.shape = given.name, given.shape[1:]

    @bentoml.api(batchable=BATCH > 1, max_batch_size=BATCH, max_latency_ms=10_000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.input: np.asarray(x, np.float32)})[0]

    @bentoml.api
    def predict_file(self, file: Annotated[Path, ContentType("application/octet-stream")]) -> np.ndarray:
        x = np.frombuffer(file.read_bytes(), np.float32).reshape(1, *self.shape)
        return self.session.run(None, {self.input: x})[0]
