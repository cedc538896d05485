"""Requests with images, their answers' ids, and feedback."""

import json
import time
from dataclasses import dataclass
from itertools import count
from threading import Thread

import numpy as np

import fashion
from server import Model
from wire import Answer, Connection, ask_all, post

ROWS = 32
"""The ids of answers have room for as many classes."""


@dataclass(frozen=True)
class Sent:
    """A request and its answer."""

    images: np.ndarray
    answer: Answer
    at: float
    """When the answer was there, by the clock of the wall, as documents have it."""

    @property
    def ok(self) -> bool:
        return self.answer.status == 200

    @property
    def id(self) -> str:
        return self.answer.headers["x-ocelli-request-id"]

    @property
    def version(self) -> int:
        return int(self.id.split(".")[2].split("r")[0])

    @property
    def classes(self) -> list[int]:
        return [int(c) for c in self.id.split(".")[3].split("+")]

    @property
    def logits(self) -> np.ndarray:
        start = int(self.answer.headers["inference-header-content-length"])
        return np.frombuffer(self.answer.body[start:], np.float32).reshape(-1, 10)


def request(model: Model, rows: np.ndarray, version=None, user="") -> bytes:
    """By V2 with binary tensors. `rows` are tensors."""
    data = np.ascontiguousarray(rows, dtype=np.float32).tobytes()
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": len(data)}
    outputs = [{"name": "logits", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    path = f"/v2/models/{model.name}" + (f"/versions/{version}" if version else "") + "/infer"
    return post(path, head + data, inference_header_content_length=len(head), x_user=user)


def feedback(
    model: Model, sent: list[Sent], label=lambda image: int(fashion.labels()[image])
) -> list:
    """The feedback with the true label of each row that was answered."""
    told = [
        {"request_id": s.id, "row": row, "label": label(image)}
        for s in sent
        if s.ok
        for row, image in enumerate(s.images)
    ]
    return [post(f"/v1/models/{model.name}:feedback", json.dumps(one).encode()) for one in told]


def send(model: Model, images=None, rows=ROWS, version=None, connections=4, window=2) -> list[Sent]:
    """Sends images (all of them), so many a request."""
    images = np.arange(fashion.COUNT) if images is None else np.asarray(images)
    parts = [images[at : at + rows] for at in range(0, len(images), rows)]
    # A user a request, so that a split that is sticky by `x-user` is the same in every run.
    requests = [request(model, fashion.images()[p], version, str(p[0])) for p in parts]
    answers = ask_all(model.server.rest, requests, connections, window)
    now = time.time()
    return [Sent(part, answer, now) for part, answer in zip(parts, answers)]


def tell(model: Model, sent: list[Sent], **how) -> list[Answer]:
    """Sends feedback about answers."""
    return ask_all(model.server.rest, feedback(model, sent, **how), window=100)


class Load:
    """Keeps sending until it is left: images in turn, each followed by its feedback if that is wanted."""

    def __init__(self, model: Model, rows=1, tells=False, connections=4, window=4):
        self.model, self.rows, self.tells, self.window = model, rows, tells, window
        self.sent: list[Sent] = []
        self.trouble: list[Exception] = []
        self.over = False
        self.turns = count()
        self.threads = [Thread(target=self._run) for _ in range(connections)]

    def _run(self):
        try:
            with Connection(self.model.server.rest) as connection:
                while not self.over:
                    self._turn(connection)
        except Exception as trouble:  # told by the thread that waits
            self.trouble.append(trouble)

    def _turn(self, connection: Connection):
        each = self.rows * self.window
        first = next(self.turns) * each
        images = np.arange(first, first + each) % fashion.COUNT
        parts = images.reshape(self.window, self.rows)
        answers = connection.ask([request(self.model, fashion.images()[p]) for p in parts])
        now = time.time()
        sent = [Sent(part, answer, now) for part, answer in zip(parts, answers)]
        if self.tells:
            for answer in connection.ask(feedback(self.model, sent)):
                assert answer.status == 200, answer
        self.sent += sent

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()
        if self.trouble:
            raise self.trouble[0]
