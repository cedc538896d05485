"""Ray Serve; small tensors in JSON, large ones as bytes."""

import time

import numpy as np
import ray
from common import BATCH, PORT, THREADS, WORKERS, session
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=100, ray_actor_options={"num_cpus": 1})
class Onnx:
    def __init__(self):
        self.session = session()
        given = self.session.get_inputs()[0]
        self.input, self.shape = given.name, given.shape[1:]

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.001)
    async def batched(self, inputs):
        output = self.session.run(None, {self.input: np.concatenate(inputs)})[0]
        return [row[None] for row in output]

    async def __call__(self, request: Request) -> dict:
        if request.headers.get("content-type") == "application/json":
            x = np.array((await request.json())["x"], np.float32)
        else:
            x = np.frombuffer(await request.body(), np.float32).reshape(1, *self.shape)
        y = await self.batched(x) if BATCH > 1 else self.session.run(None, {self.input: x})[0]
        return {"y": y.tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=max(2, THREADS * WORKERS), include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Onnx.bind(), route_prefix="/predict")
    while True:
        time.sleep(60)
