"""kserve's inference clients: the V1 and V2 protocols by REST, and the V2 protocol by gRPC.

They send `model_name` in the V2 body, `binary_data_size` as a parameter by gRPC too, and read the
answers of /v2/health as JSON.
"""

import asyncio

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from reference import PHOTOS, alike, near, numbers, pixels, same
from repository import DTYPES, LITE0, extremes


class Rest:
    def __init__(self, server, protocol="v2"):
        self.url = f"http://{server.rest}"
        self.client = lambda: InferenceRESTClient(RESTConfig(protocol=protocol, retries=0))

    def call(self, method: str, *arguments, **options):
        async def ask():
            async with self.client() as client:
                return await getattr(client, method)(self.url, *arguments, **options)

        return asyncio.run(ask())

    def infer(self, request: InferRequest):
        return self.call("infer", request, model_name=request.model_name)


class Grpc:
    def __init__(self, server):
        self.address = server.grpc

    def call(self, method: str, *arguments):
        async def ask():
            async with InferenceGRPCClient(self.address, retries=0) as client:
                return await getattr(client, method)(*arguments)

        return asyncio.run(ask())

    def infer(self, request: InferRequest):
        return self.call("infer", request)


@pytest.fixture(params=[Rest, Grpc])
def client(server, request):
    return request.param(server)


def request(model: str, binary=True, outputs=None, **inputs) -> InferRequest:
    tensors = []
    for name, (datatype, array) in inputs.items():
        tensor = InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    return InferRequest(model, tensors, request_id="from kserve", request_outputs=outputs)


def array(answer, name: str) -> np.ndarray:
    return answer.get_output_by_name(name).as_numpy()


def test_health(client):
    assert client.call("is_server_live") is True
    assert client.call("is_server_ready") is True
    assert client.call("is_model_ready", "affine") is True
    assert client.call("is_model_ready", "missing") is False


@pytest.mark.parametrize("datatype", [d for d in DTYPES if d != "FP16"])
@pytest.mark.parametrize("binary", [True, False])
def test_every_datatype_there_and_back(client, datatype, binary):
    sent = extremes(datatype)
    answer = client.infer(request(f"identity_{datatype.lower()}", binary, x=(datatype, sent)))
    assert answer.id == "from kserve"
    same(array(answer, "y"), sent)


def test_half_precision(client):
    """It has no JSON form, and no typed one by gRPC."""
    sent = extremes("FP16")
    wanted = [RequestedOutput("y", {"binary_data": True})]
    asked = request("identity_fp16", True, wanted, x=("FP16", sent))
    same(array(client.infer(asked), "y"), sent)


def test_two_inputs_one_output(client, reference):
    a, b = numbers(2, 3), numbers(3, 3)[:2]
    wanted = [RequestedOutput("difference")]
    answer = client.infer(request("pair", True, wanted, a=("FP32", a), b=("FP32", b)))
    near(array(answer, "difference"), reference.run("pair", a=a, b=b)["difference"])
    assert answer.get_output_by_name("sum") is None


@pytest.mark.parametrize("binary", [True, False])
def test_lite0_on_pixels(client, reference, binary):
    row = pixels(PHOTOS[0])
    answer = client.infer(request(LITE0, binary, input=("FP32", row)))
    alike(array(answer, "logits"), reference.logits(row))


def test_v1_predict(server, reference):
    x = numbers(2, 4)
    rest = Rest(server, "v1")
    answer = rest.call("infer", {"instances": x.tolist()}, model_name="affine")
    near(answer["predictions"], reference.run("affine", 2, x=x)["y"])


def test_refusals(client):
    failures = (httpx.HTTPStatusError, grpc.RpcError)
    with pytest.raises(failures, match="missing"):
        client.infer(request("missing", x=("FP32", numbers(1, 4))))
    with pytest.raises(failures, match="other"):
        client.infer(request("affine", other=("FP32", numbers(1, 4))))
    with pytest.raises(failures, match="FP64"):
        client.infer(request("affine", x=("FP64", numbers(1, 4).astype(np.float64))))
