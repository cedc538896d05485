"""Triton, as PyTriton brings it, with a Python callable; V2 by REST and gRPC."""

import numpy as np
from common import BATCH, GRPC_PORT, NAME, PORT, session
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

onnx = session()
names = [output.name for output in onnx.get_outputs()]


@batch
def infer(**inputs: np.ndarray):
    return onnx.run(names, inputs)


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1", http_port=PORT, grpc_address="127.0.0.1", grpc_port=GRPC_PORT,
        allow_metrics=False,
    )
    tensor = lambda given: Tensor(name=given.name, dtype=np.float32, shape=tuple(given.shape[1:]))
    with Triton(config=config) as triton:
        triton.bind(
            model_name=NAME,
            infer_func=infer,
            inputs=[tensor(given) for given in onnx.get_inputs()],
            outputs=[tensor(given) for given in onnx.get_outputs()],
            config=ModelConfig(batching=True, max_batch_size=max(BATCH, 2), batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()
