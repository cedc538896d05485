"""mosec; small tensors in JSON, large ones as bytes."""

import numpy as np
from common import BATCH, WORKERS, session
from mosec import Server, Worker


class Onnx(Worker):
    def __init__(self):
        self.session = session()
        given = self.session.get_inputs()[0]
        self.input, self.shape = given.name, given.shape[1:]

    def deserialize(self, data: bytes):
        if data.startswith(b"{"):
            return np.array(super().deserialize(data)["x"], np.float32)
        return np.frombuffer(data, np.float32).reshape(1, *self.shape)

    def forward(self, data):
        if BATCH > 1:
            output = self.session.run(None, {self.input: np.concatenate(data)})[0]
            return [{"y": row[None].tolist()} for row in output]
        return {"y": self.session.run(None, {self.input: data})[0].tolist()}


if __name__ == "__main__":
    server = Server()
    server.append_worker(Onnx, num=WORKERS, max_batch_size=BATCH, max_wait_time=1)
    server.run()
