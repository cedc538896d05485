"""MLServer with a runtime of one's own; V2 by REST and gRPC."""

import asyncio

from common import BATCH, GRPC_PORT, NAME, PORT, session
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Onnx(MLModel):
    async def load(self) -> bool:
        self.session = session()
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {given.name: NumpyCodec.decode_input(given) for given in payload.inputs}
        outputs = self.session.run(self.names, inputs)
        encoded = [NumpyCodec.encode_output(name, value) for name, value in zip(self.names, outputs)]
        return InferenceResponse(model_name=self.name, outputs=encoded)


async def main() -> None:
    # Without parallel workers: a process more would only cost, with one model.
    settings = Settings(
        debug=False, host="127.0.0.1", http_port=PORT, grpc_port=GRPC_PORT, metrics_endpoint=None,
        parallel_workers=0,
    )
    batching = {"max_batch_size": BATCH, "max_batch_time": 0.001} if BATCH > 1 else {}
    model = ModelSettings(name=NAME, implementation=Onnx, **batching)
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main())
