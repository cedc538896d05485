"""tritonclient: requests in flight together, streams, and the asyncio clients."""

import asyncio
from queue import Queue

import numpy as np
import pytest
import tritonclient.grpc.aio
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from reference import PHOTOS, alike, near, numbers, pixels
from repository import LITE0
from triton import connect

MANY = 24


def rows(count: int = MANY) -> list[np.ndarray]:
    """Inputs that differ, so that answers that are mixed up show."""
    return [np.full((1 + i % 3, 4), i, np.float32) for i in range(count)]


def test_http_async(server, reference):
    http = connect(server, "http")
    flying = [
        http.client.async_infer(
            "affine", [http.input("x", x)], request_id=str(i), model_version="1"
        )
        for i, x in enumerate(rows())
    ]
    for i, (x, request) in enumerate(zip(rows(), flying, strict=True)):
        answer = request.get_result()
        assert answer.get_response()["id"] == str(i)
        near(answer.as_numpy("y"), reference.run("affine", 1, x=x)["y"])


def test_grpc_async(server, reference):
    grpc, done = connect(server, "grpc"), Queue()
    for i, x in enumerate(rows()):
        grpc.client.async_infer(
            "affine",
            [grpc.input("x", x)],
            lambda result, error: done.put((result, error)),
            request_id=str(i),
            model_version="1",
        )
    answers = {}
    for _ in rows():
        result, error = done.get(timeout=30)
        assert error is None
        answers[int(result.get_response().id)] = result.as_numpy("y")
    for i, x in enumerate(rows()):
        near(answers[i], reference.run("affine", 1, x=x)["y"])


def test_grpc_async_error_and_cancel(server):
    grpc, done = connect(server, "grpc"), Queue()

    def call(model, tensor):
        put = lambda result, error: done.put((result, error))  # noqa: E731
        return grpc.client.async_infer(model, [tensor], put)

    call("missing", grpc.input("x", numbers(1, 4)))
    result, error = done.get(timeout=30)
    assert result is None and error.status() == "StatusCode.NOT_FOUND"
    call(LITE0, grpc.input("input", np.zeros((8, 3, 224, 224), np.float32))).cancel()
    result, error = done.get(timeout=30)
    assert result is None and error.status() == "StatusCode.CANCELLED"


@pytest.fixture
def stream(server):
    """A client with a stream open, and the queue its answers come to."""
    grpc, done = connect(server, "grpc"), Queue()
    grpc.client.start_stream(lambda result, error: done.put((result, error)))
    yield grpc, done
    grpc.client.stop_stream()


def test_stream(stream, reference):
    grpc, done = stream
    for i, x in enumerate(rows()):
        grpc.client.async_stream_infer(
            "affine", [grpc.input("x", x)], request_id=str(i), model_version="1"
        )
    answers = [done.get(timeout=30) for _ in rows()]
    assert {error for _, error in answers} == {None}
    by_id = {int(result.get_response().id): result for result, _ in answers}
    for i, x in enumerate(rows()):
        near(by_id[i].as_numpy("y"), reference.run("affine", 1, x=x)["y"])


def test_stream_of_several_models(stream, reference):
    grpc, done = stream
    row = pixels(PHOTOS[0])
    grpc.client.async_stream_infer(LITE0, [grpc.input("input", row)], request_id="photo")
    tensors = [grpc.input("a", numbers(1, 3)), grpc.input("b", numbers(1, 3))]
    grpc.client.async_stream_infer("pair", tensors, request_id="pair")
    answers = dict(
        (result.get_response().id, result) for result, _ in (done.get(timeout=30) for _ in "12")
    )
    alike(answers["photo"].as_numpy("logits"), reference.logits(row))
    near(answers["pair"].as_numpy("difference"), np.zeros((1, 3)))


def test_an_error_leaves_the_stream_open(stream):
    """Triton tells an error in the response, so that the requests behind it are still answered."""
    grpc, done = stream
    grpc.client.async_stream_infer("missing", [grpc.input("x", numbers(1, 4))])
    result, error = done.get(timeout=30)
    assert result is None and "missing" in error.message()
    ones = np.ones((1, 4), np.float32)
    grpc.client.async_stream_infer("affine", [grpc.input("x", ones)], model_version="1")
    result, error = done.get(timeout=30)
    assert error is None
    near(result.as_numpy("y"), ones * 3)


def test_stream_tells_the_final_response(stream):
    grpc, done = stream
    ones = grpc.input("x", np.ones((1, 4), np.float32))
    grpc.client.async_stream_infer("affine", [ones], enable_empty_final_response=True)
    result, error = done.get(timeout=30)
    assert error is None
    assert result.get_response().parameters["triton_final_response"].bool_param is True


@pytest.mark.parametrize("module", [tritonclient.http.aio, tritonclient.grpc.aio])
def test_asyncio(server, reference, module):
    async def ask():
        url = server.rest if module is tritonclient.http.aio else server.grpc
        async with module.InferenceServerClient(url) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("affine", "1")
            assert not await client.is_model_ready("missing")

            def infer(model: str, x: np.ndarray):
                tensor = module.InferInput("x", list(x.shape), "FP32")
                tensor.set_data_from_numpy(x)
                return client.infer(model, [tensor], model_version="1")

            answers = await asyncio.gather(*(infer("affine", x) for x in rows()))
            for x, answer in zip(rows(), answers, strict=True):
                near(answer.as_numpy("y"), reference.run("affine", 1, x=x)["y"])
            with pytest.raises(InferenceServerException, match="missing"):
                await infer("missing", rows()[0])

    asyncio.run(ask())


def test_asyncio_stream(server):
    async def ask():
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:

            async def requests():
                for i, x in enumerate(rows(6)):
                    tensor = tritonclient.grpc.aio.InferInput("x", list(x.shape), "FP32")
                    tensor.set_data_from_numpy(x)
                    yield {
                        "model_name": "affine",
                        "inputs": [tensor],
                        "request_id": str(i),
                        "model_version": "1",
                    }

            answers = {}
            async for result, error in client.stream_infer(requests()):
                assert error is None
                answers[int(result.get_response().id)] = result.as_numpy("y")
            for i, x in enumerate(rows(6)):
                near(answers[i], x * 2 + 1)

    asyncio.run(ask())
