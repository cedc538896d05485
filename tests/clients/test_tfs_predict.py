"""tensorflow-serving-api: Predict, in every form of a tensor, held against onnxruntime by value."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from reference import PHOTOS, alike, near, numbers, pixels, same
from repository import LITE0, extremes
from tfserving import (
    TYPES,
    array,
    content,
    empty,
    prediction_service_pb2_grpc,
    refuses,
    strings,
    typed,
    types_pb2,
)


@pytest.mark.parametrize("datatype", TYPES)
@pytest.mark.parametrize("form", [content, typed])
def test_every_datatype_there_and_back(serving, datatype, form):
    sent = extremes(datatype)
    answer = serving.predict(f"identity_{datatype.lower()}", {"x": form(sent)})
    assert list(answer.outputs) == ["y"]
    assert answer.outputs["y"].dtype == TYPES[datatype][0]
    same(array(answer.outputs["y"]), sent)


@pytest.mark.parametrize("datatype", TYPES)
def test_one_value_stands_for_all(serving, datatype):
    """TensorFlow repeats the last value of a typed field until the shape is filled."""
    sent = np.ascontiguousarray(np.broadcast_to(extremes(datatype)[0, 1], (2, 3)))
    tensor = typed(sent)
    values = getattr(tensor, TYPES[datatype][1])
    del values[1:]
    answer = serving.predict(f"identity_{datatype.lower()}", {"x": tensor})
    same(array(answer.outputs["y"]), sent)


def test_the_last_value_fills_the_rest(serving):
    tensor = empty(types_pb2.DT_INT32, [2, 3])
    tensor.int_val.extend([5, 6, 7])
    answer = serving.predict("identity_int32", {"x": tensor})
    same(array(answer.outputs["y"]), np.array([[5, 6, 7], [7, 7, 7]], np.int32))


def test_the_answer_names_what_answered(serving):
    spec = serving.predict("affine", {"x": content(numbers(1, 4))}).model_spec
    assert (spec.name, spec.version.value) == ("affine", 2)
    assert spec.signature_name == "serving_default"


def test_versions_and_labels(serving, reference):
    x = numbers(2, 4)
    asked = [({"version": 1}, 1), ({"version": 2}, 2), ({"label": "stable"}, 1)]
    asked += [({"label": "canary"}, 2), ({}, 2), ({"signature": "serving_default"}, 2)]
    for spec, version in asked:
        answer = serving.predict("affine", {"x": content(x)}, **spec)
        assert answer.model_spec.version.value == version
        near(array(answer.outputs["y"]), reference.run("affine", version, x=x)["y"])


def test_two_inputs_two_outputs(serving, reference):
    a, b = numbers(2, 3), numbers(3, 3)[:2]
    expected = reference.run("pair", a=a, b=b)
    answer = serving.predict("pair", {"b": content(b), "a": typed(a)})
    assert set(answer.outputs) == {"sum", "difference"}
    near(array(answer.outputs["sum"]), expected["sum"])
    near(array(answer.outputs["difference"]), expected["difference"])


def test_output_filter(serving, reference):
    a, b = numbers(1, 3), numbers(2, 3)[:1]
    tensors = {"a": content(a), "b": content(b)}
    answer = serving.predict("pair", tensors, outputs=["difference"])
    assert list(answer.outputs) == ["difference"]
    near(array(answer.outputs["difference"]), reference.run("pair", a=a, b=b)["difference"])
    with refuses("INVALID_ARGUMENT", "nothing"):
        serving.predict("pair", tensors, outputs=["nothing"])


def test_fixed_batch_of_one(serving, reference):
    x = numbers(1, 3)
    answer = serving.predict("single", {"x": content(x)})
    near(array(answer.outputs["y"]), reference.run("single", x=x)["y"])


@pytest.mark.parametrize("form", [content, typed])
def test_lite0_on_pixels(serving, reference, form):
    rows = np.concatenate([pixels(photo) for photo in PHOTOS])
    answer = serving.predict(LITE0, {"input": form(rows)})
    alike(array(answer.outputs["logits"]), reference.logits(rows))


def test_lite0_on_encoded_photos(serving, reference):
    photos = strings([photo.read_bytes() for photo in PHOTOS])
    got = array(serving.predict(LITE0, {"input": photos}).outputs["logits"])
    theirs = reference.logits(np.concatenate([pixels(photo) for photo in PHOTOS]))
    assert got.shape == theirs.shape
    # Decoders and resizers differ by a grey level here and there; the answer must not.
    assert got.argmax(1).tolist() == theirs.argmax(1).tolist()


def test_many_at_once(serving, reference):
    inputs = [np.full((1 + i % 3, 4), i, np.float32) for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        ask = lambda x: serving.predict("affine", {"x": content(x)}, version=1)  # noqa: E731
        for x, answer in zip(inputs, pool.map(ask, inputs), strict=True):
            near(array(answer.outputs["y"]), reference.run("affine", 1, x=x)["y"])


def test_unknown_names(serving):
    tensors = {"x": content(numbers(1, 4))}
    with refuses("NOT_FOUND", "missing"):
        serving.predict("missing", tensors)
    with refuses("NOT_FOUND", "affine", "9"):
        serving.predict("affine", tensors, version=9)
    with refuses("INVALID_ARGUMENT", "nightly"):
        serving.predict("affine", tensors, label="nightly")
    with refuses("INVALID_ARGUMENT", "other_signature"):
        serving.predict("affine", tensors, signature="other_signature")
    with refuses("INVALID_ARGUMENT"):
        serving.predict("", tensors)


def test_wrong_tensors(serving):
    x = numbers(1, 4)
    with refuses("INVALID_ARGUMENT", "x"):
        serving.predict("affine", {})
    with refuses("INVALID_ARGUMENT", "other"):
        serving.predict("affine", {"x": content(x), "other": content(x)})
    with refuses("INVALID_ARGUMENT", "x"):
        serving.predict("affine", {"x": content(x.astype(np.float64))})
    with refuses("INVALID_ARGUMENT", "x"):
        serving.predict("affine", {"x": content(numbers(1, 5))})
    short, long = content(x), typed(x)
    short.tensor_content = short.tensor_content[:-1]
    with refuses("INVALID_ARGUMENT"):
        serving.predict("affine", {"x": short})
    long.float_val.append(1)
    with refuses("INVALID_ARGUMENT"):
        serving.predict("affine", {"x": long})
    negative, rankless = content(x), content(x)
    negative.tensor_shape.dim[0].size = -1
    with refuses("INVALID_ARGUMENT"):
        serving.predict("affine", {"x": negative})
    rankless.tensor_shape.Clear()
    rankless.tensor_shape.unknown_rank = True
    with refuses("INVALID_ARGUMENT"):
        serving.predict("affine", {"x": rankless})
    with refuses("INVALID_ARGUMENT"):
        serving.predict(LITE0, {"input": strings([b"not a photo"])})


def test_deadline(serving):
    rows = content(np.zeros((8, 3, 224, 224), np.float32))
    with refuses("DEADLINE_EXCEEDED"):
        serving.predict(LITE0, {"input": rows}, timeout=0.02)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compression(server, serving, reference, compression):
    x = np.tile(numbers(1, 4), (8, 1))
    with grpc.insecure_channel(server.grpc, compression=compression) as channel:
        serving.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = serving.predict("affine", {"x": content(x)}, version=1)
    near(array(answer.outputs["y"]), reference.run("affine", 1, x=x)["y"])
