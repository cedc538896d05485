"""LitServe; tensors in JSON, or large ones as a file in a form."""

import litserve
import numpy as np
from common import BATCH, PORT, WORKERS, session
from fastapi import Request


class Onnx(litserve.LitAPI):
    def setup(self, device):
        self.session = session()
        given = self.session.get_inputs()[0]
        self.input, self.shape = given.name, given.shape[1:]

    def decode_request(self, request: Request):
        if "file" in request:
            return np.frombuffer(request["file"].file.read(), np.float32).reshape(1, *self.shape)
        return np.array(request["x"], np.float32)

    def batch(self, inputs):
        return np.concatenate(inputs)

    def predict(self, x):
        return self.session.run(None, {self.input: x})[0]

    def unbatch(self, output):
        return [row[None] for row in output]

    def encode_response(self, output):
        return {"y": output.tolist()}


if __name__ == "__main__":
    api = Onnx(max_batch_size=BATCH, batch_timeout=0.001, api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS)
    server.run(host="127.0.0.1", port=PORT, num_api_servers=1, generate_client_file=False, log_level="warning")
