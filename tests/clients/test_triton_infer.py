"""tritonclient: inference over HTTP and gRPC, held against onnxruntime by value."""

import numpy as np
import pytest
import tritonclient.http
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from reference import LITE0_LABELS, PHOTOS, alike, near, numbers, pixels, ranking, same
from repository import DTYPES, LABELS, LITE0, extremes
from triton import connect

# The member of InferTensorContents for a datatype; half precision has none.
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


def classes(answer, output: str) -> list[list[tuple]]:
    """Rows of (score, index, label)."""

    def entry(text: bytes):
        score, index, label = text.decode().split(":", 2)
        return float(score), int(index), label

    return [[entry(text) for text in row] for row in answer.as_numpy(output)]


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_there_and_back(triton, datatype):
    sent = extremes(datatype)
    answer = triton.infer(f"identity_{datatype.lower()}", x=sent)
    same(answer.as_numpy("y"), sent)
    output = answer.get_output("y")
    assert (output["datatype"] if triton.http else output.datatype) == datatype


@pytest.mark.parametrize("datatype", [d for d in DTYPES if d != "FP16"])
@pytest.mark.parametrize("binary_in, binary_out", [(False, False), (False, True), (True, False)])
def test_json_tensors(server, datatype, binary_in, binary_out):
    http = connect(server, "http")
    sent = extremes(datatype)
    tensor = http.module.InferInput("x", list(sent.shape), datatype)
    tensor.set_data_from_numpy(sent, binary_data=binary_in)
    output = http.output("y", binary_data=binary_out)
    answer = http.client.infer(f"identity_{datatype.lower()}", [tensor], outputs=[output])
    told = answer.get_output("y")
    assert ("data" in told) is not binary_out
    assert ("parameters" in told) is binary_out
    same(answer.as_numpy("y"), sent)


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_contents(server, datatype):
    """gRPC's other form of a tensor: numbers in fields, and no raw bytes."""
    grpc = connect(server, "grpc")
    sent = extremes(datatype)
    contents = {CONTENTS[datatype]: sent.ravel().tolist()}
    model = f"identity_{datatype.lower()}"
    tensor = dict(name="x", shape=sent.shape, datatype=datatype, contents=contents)
    request = service_pb2.ModelInferRequest(model_name=model, inputs=[tensor])
    answer = grpc.client._client_stub.ModelInfer(request)
    [output] = answer.outputs
    if answer.raw_output_contents:
        got = np.frombuffer(answer.raw_output_contents[0], sent.dtype)
    else:
        got = np.array(getattr(output.contents, CONTENTS[datatype]), sent.dtype)
    same(got.reshape(tuple(output.shape)), sent)


def test_two_inputs_two_outputs(triton, reference):
    a, b = numbers(2, 3), numbers(3, 3)[:2]
    expected = reference.run("pair", a=a, b=b)
    answer = triton.infer("pair", a=a, b=b)
    near(answer.as_numpy("sum"), expected["sum"])
    near(answer.as_numpy("difference"), expected["difference"])
    # Inputs go by name, not by place.
    swapped = triton.client.infer("pair", [triton.input("b", b), triton.input("a", a)])
    near(swapped.as_numpy("difference"), expected["difference"])


def test_only_the_outputs_asked_for(triton, reference):
    a, b = numbers(1, 3), numbers(2, 3)[:1]
    answer = triton.infer("pair", outputs=[triton.output("difference")], a=a, b=b)
    near(answer.as_numpy("difference"), reference.run("pair", a=a, b=b)["difference"])
    assert answer.as_numpy("sum") is None


def test_versions(triton, reference):
    x = numbers(3, 4)
    for version in ("1", "2", ""):
        answer = triton.infer("affine", version=version, x=x)
        used = version or "2"
        near(answer.as_numpy("y"), reference.run("affine", int(used), x=x)["y"])
        response = answer.get_response()
        told = response["model_version"] if triton.http else response.model_version
        assert told == used


def test_fixed_batch_of_one(triton, reference):
    x = numbers(1, 3)
    near(triton.infer("single", x=x).as_numpy("y"), reference.run("single", x=x)["y"])
    with triton.refuses("INVALID_ARGUMENT", "x"):
        triton.infer("single", x=numbers(1, 4))


def test_lite0_on_pixels(triton, reference):
    rows = np.concatenate([pixels(photo) for photo in PHOTOS])
    answer = triton.infer(LITE0, input=rows)
    alike(answer.as_numpy("logits"), reference.logits(rows))


def test_lite0_as_json(server, reference):
    http = connect(server, "http")
    row = pixels(PHOTOS[0])
    tensor = http.module.InferInput("input", list(row.shape), "FP32")
    tensor.set_data_from_numpy(row, binary_data=False)
    output = http.output("logits", binary_data=False)
    answer = http.client.infer(LITE0, [tensor], outputs=[output])
    alike(answer.as_numpy("logits"), reference.logits(row))


def test_classification(triton):
    """score:index:label, the largest first, ties by index, scores with six decimals."""
    x = np.array([[1, 2, 2, 0.123456789, -4], [1e10, 1e-7, 0, 0, 0]], np.float32)
    answer = triton.infer("ranked", outputs=[triton.output("y", class_count=3)], x=x)
    got = answer.as_numpy("y").tolist()
    assert got == [
        [b"2.000000:1:bee", b"2.000000:2:cat", b"1.000000:0:ant"],
        [b"10000000000.000000:0:ant", b"0.000000:1:bee", b"0.000000:2:cat"],
    ]
    # More classes than there are: all of them.
    answer = triton.infer("ranked", outputs=[triton.output("y", class_count=50)], x=x[:1])
    assert [index for _, index, _ in classes(answer, "y")[0]] == [1, 2, 0, 3, 4]
    assert [label for *_, label in classes(answer, "y")[0]] == [LABELS[i] for i in (1, 2, 0, 3, 4)]
    # Without labels there are two fields.
    x = np.array([[3, 1, 2]], np.int32)
    answer = triton.infer("identity_int32", outputs=[triton.output("y", class_count=2)], x=x)
    assert answer.as_numpy("y").tolist() == [[b"3:0", b"2:2"]]


def test_classification_of_pixels(triton, reference):
    row = pixels(PHOTOS[0])
    expected = reference.logits(row)[0]
    answer = triton.infer(LITE0, outputs=[triton.output("logits", class_count=5)], input=row)
    [got] = classes(answer, "logits")
    assert [index for _, index, _ in got] == ranking(expected, 5)
    assert [label for *_, label in got] == [LITE0_LABELS[i] for i in ranking(expected, 5)]
    alike([score for score, *_ in got], expected[ranking(expected, 5)])


def test_images_as_bytes(triton, reference):
    """Encoded photos as a BYTES tensor: one a row, decoded and scaled by the server."""
    photos = np.array([photo.read_bytes() for photo in PHOTOS], dtype=np.object_)
    logits = triton.infer(LITE0, outputs=[triton.output("logits")], input=photos)
    rows = logits.as_numpy("logits")
    theirs = reference.logits(np.concatenate([pixels(photo) for photo in PHOTOS]))
    # Decoders and resizers differ by a grey level here and there; the answer must not.
    assert rows.shape == theirs.shape
    assert rows.argmax(1).tolist() == theirs.argmax(1).tolist()
    answer = triton.infer(LITE0, outputs=[triton.output("logits", class_count=5)], input=photos)
    for got, row in zip(classes(answer, "logits"), rows, strict=True):
        assert [index for _, index, _ in got] == ranking(row, 5)
        assert [label for *_, label in got] == [LITE0_LABELS[i] for i in ranking(row, 5)]
        alike([score for score, *_ in got], row[ranking(row, 5)])


def test_bytes_that_are_no_image(triton):
    junk = np.array([b"not a photo"], dtype=np.object_)
    with triton.refuses("INVALID_ARGUMENT"):
        triton.infer(LITE0, input=junk)


def test_request_id_comes_back(triton):
    answer = triton.infer("affine", options={"request_id": "photo 17"}, x=numbers(1, 4))
    response = answer.get_response()
    assert (response["id"] if triton.http else response.id) == "photo 17"


def test_parameters_are_taken(triton, reference):
    x = numbers(2, 4)
    options = dict(priority=1, timeout=20_000_000)
    options["parameters"] = {"text": "a", "number": 7, "flag": True, "fraction": 0.5}
    answer = triton.infer("affine", version="1", options=options, x=x)
    near(answer.as_numpy("y"), reference.run("affine", 1, x=x)["y"])


def test_a_timeout_that_cannot_be_kept(triton):
    """`timeout` is in microseconds."""
    rows = np.zeros((8, 3, 224, 224), np.float32)
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(LITE0, options={"timeout": 1}, input=rows)
    expected = "504" if triton.http else "StatusCode.DEADLINE_EXCEEDED"
    assert caught.value.status() == expected


def test_client_timeout(server):
    rows = np.zeros((8, 3, 224, 224), np.float32)
    grpc = connect(server, "grpc")
    with pytest.raises(InferenceServerException) as caught:
        grpc.infer(LITE0, options={"client_timeout": 0.02}, input=rows)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    impatient = tritonclient.http.InferenceServerClient(server.rest, network_timeout=0.02)
    with pytest.raises(TimeoutError):
        impatient.infer(LITE0, [connect(server, "http").input("input", rows)])
    # Those who went away leave the server as it was.
    near(grpc.infer("affine", version="1", x=rows[0, :1, 0, :4]).as_numpy("y"), np.ones((1, 4)))


@pytest.mark.parametrize("request_by", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_by", [None, "gzip", "deflate"])
def test_http_compression(server, reference, request_by, response_by):
    x = np.tile(numbers(1, 4), (8, 1))
    options = {
        "request_compression_algorithm": request_by,
        "response_compression_algorithm": response_by,
    }
    answer = connect(server, "http").infer("affine", version="1", options=options, x=x)
    near(answer.as_numpy("y"), reference.run("affine", 1, x=x)["y"])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_grpc_compression(server, reference, algorithm):
    x = np.tile(numbers(1, 4), (8, 1))
    options = {"compression_algorithm": algorithm}
    answer = connect(server, "grpc").infer("affine", version="1", options=options, x=x)
    near(answer.as_numpy("y"), reference.run("affine", 1, x=x)["y"])


def test_refusals(triton):
    x = numbers(1, 4)
    with triton.refuses("NOT_FOUND", "missing"):
        triton.infer("missing", x=x)
    with triton.refuses("NOT_FOUND", "affine", "9"):
        triton.infer("affine", version="9", x=x)
    with triton.refuses("INVALID_ARGUMENT", "x"):
        triton.infer("affine", x=numbers(1, 5))
    with triton.refuses("INVALID_ARGUMENT", "x"):
        triton.infer("affine", x=numbers(4))
    with triton.refuses("INVALID_ARGUMENT", "FP64", "FP32"):
        triton.infer("affine", x=x.astype(np.float64))
    with triton.refuses("INVALID_ARGUMENT", "other"):
        triton.infer("affine", other=x)
    with triton.refuses("INVALID_ARGUMENT", "b"):
        triton.infer("pair", a=numbers(1, 3))
    with triton.refuses("INVALID_ARGUMENT"):
        triton.infer("pair", a=numbers(1, 3), b=numbers(2, 3))
    with triton.refuses("INVALID_ARGUMENT", "nothing"):
        triton.infer("affine", outputs=[triton.output("nothing")], x=x)
    near(triton.infer("affine", version="1", x=x).as_numpy("y"), x * 2 + 1)
