"""ovmsclient: TensorFlow Serving's APIs as OpenVINO Model Server's client speaks them.

It asks for version 0 where the caller names none: the default version. By HTTP it sends no
content type, and numbers as the columnar form.
"""

import numpy as np
import ovmsclient
import pytest
from ovmsclient.tfs_compat.base.errors import InvalidInputError, ModelNotFoundError

from reference import PHOTOS, alike, near, numbers, pixels, same
from repository import DTYPES, LITE0, extremes

OK = 0


@pytest.fixture(params=["http", "grpc"])
def client(server, request):
    if request.param == "http":
        client = ovmsclient.make_http_client(server.rest)
        yield client
        client.session.close()
    else:
        yield ovmsclient.make_grpc_client(server.grpc)


@pytest.fixture
def by_http(client) -> bool:
    return hasattr(client, "session")


def test_predict(client, reference):
    x = numbers(2, 4)
    for version, used in ((0, 2), (1, 1), (2, 2)):
        got = client.predict({"x": x}, "affine", model_version=version)
        near(got, reference.run("affine", used, x=x)["y"])
    # The default of the argument is that same 0.
    near(client.predict({"x": x}, "affine"), reference.run("affine", 2, x=x)["y"])


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_there_and_back(client, by_http, datatype):
    sent = extremes(datatype)
    if by_http and datatype == "UINT64":
        # This client's numpy makes 64-bit floats of such a list, and cuts it.
        sent = sent.clip(max=2**53)
    got = client.predict({"x": sent}, f"identity_{datatype.lower()}")
    # JSON's numbers have no width: numpy makes of them what it does of Python's.
    same(got.astype(sent.dtype) if by_http else got, sent)


def test_two_inputs_two_outputs(client, reference):
    a, b = numbers(2, 3), numbers(3, 3)[:2]
    expected = reference.run("pair", a=a, b=b)
    got = client.predict({"a": a, "b": b}, "pair")
    assert set(got) == {"sum", "difference"}
    near(got["sum"], expected["sum"])
    near(got["difference"], expected["difference"])


def test_python_lists(client, reference):
    x = [[1.0, 2.0, 3.0, 4.5]]
    near(client.predict({"x": x}, "affine", 1), np.array(x) * 2 + 1)


def test_lite0_on_pixels(client, reference):
    row = pixels(PHOTOS[0])
    alike(client.predict({"input": row}, LITE0, timeout=30.0), reference.logits(row))


def test_encoded_photo(server, reference):
    client = ovmsclient.make_grpc_client(server.grpc)
    got = client.predict({"input": [PHOTOS[0].read_bytes()]}, LITE0, timeout=30.0)
    assert got.shape == (1, 1000)
    assert got.argmax() == reference.logits(pixels(PHOTOS[0])).argmax()


def test_encoded_photo_by_http(server, reference):
    """{"inputs": {"input": [{"b64": ...}]}}: images in, the five best out."""
    client = ovmsclient.make_http_client(server.rest)
    [best] = client.predict({"input": [PHOTOS[0].read_bytes()]}, LITE0, timeout=30.0)
    assert len(best) == 5
    assert best[0]["index"] == reference.logits(pixels(PHOTOS[0])).argmax()


def test_status(client):
    for version in (1, 2):
        state = client.get_model_status("affine", version)
        assert state == {version: {"state": "AVAILABLE", "error_code": OK, "error_message": ""}}
    # Version 0 asks for all of them.
    assert set(client.get_model_status("affine")) == {1, 2}


def test_metadata(server):
    client = ovmsclient.make_grpc_client(server.grpc)
    assert client.get_model_metadata(LITE0) == {
        "model_version": 1,
        "inputs": {"input": {"shape": [-1, 3, 224, 224], "dtype": "DT_FLOAT"}},
        "outputs": {"logits": {"shape": [-1, 1000], "dtype": "DT_FLOAT"}},
    }
    assert client.get_model_metadata("affine")["model_version"] == 2
    assert client.get_model_metadata("affine", 1)["model_version"] == 1


def test_metadata_by_http(server):
    """The client knows OpenVINO's spelling of it only, and hands TensorFlow's through as it is."""
    told = ovmsclient.make_http_client(server.rest).get_model_metadata(LITE0)
    assert told["model_spec"]["name"] == LITE0
    assert told["model_spec"]["version"] == "1"
    signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["input"]["dtype"] == "DT_FLOAT"
    sizes = [dim["size"] for dim in signature["inputs"]["input"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "3", "224", "224"]


def test_refusals(client):
    x = numbers(1, 4)
    with pytest.raises(ModelNotFoundError, match="missing"):
        client.predict({"x": x}, "missing")
    with pytest.raises(ModelNotFoundError, match="9"):
        client.predict({"x": x}, "affine", model_version=9)
    with pytest.raises(ModelNotFoundError, match="missing"):
        client.get_model_status("missing")
    with pytest.raises(ModelNotFoundError, match="missing"):
        client.get_model_metadata("missing")
    with pytest.raises(InvalidInputError, match="x"):
        client.predict({"x": numbers(1, 5)}, "affine")
    with pytest.raises(InvalidInputError, match="other"):
        client.predict({"other": x}, "affine")


def test_timeout(client):
    with pytest.raises(TimeoutError):
        client.predict({"input": np.zeros((8, 3, 224, 224), np.float32)}, LITE0, timeout=0.02)
