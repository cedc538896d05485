"""The calls of Triton's image classification example, image_client.py, in its order.

No package on PyPI ships the example (tritonclient's wheels have the library alone), and it is not
copied here; this asks the server for the same things, and is as strict about the answers.
"""

from queue import Queue

import numpy as np
import pytest
import tritonclient.grpc.model_config_pb2 as mc
from PIL import Image
from tritonclient.utils import triton_to_np_dtype

from reference import LITE0_LABELS, PHOTOS, ranking
from repository import LITE0
from triton import connect

# As the example's flags have it; it streams over gRPC only.
WAYS = [
    ("http", "sync"),
    ("http", "async"),
    ("grpc", "sync"),
    ("grpc", "async"),
    ("grpc", "stream"),
]


def dimensions(metadata: dict, config: dict) -> dict:
    """What the example insists on before it sends anything: its parse_model."""
    [image], [image_config] = metadata["inputs"], config["input"]
    [scores] = metadata["outputs"]
    assert scores["datatype"] == "FP32"
    batched = config["max_batch_size"] > 0
    assert sum(int(n) > 1 for n in scores["shape"][batched:]) <= 1, "a vector"
    shape = [int(n) for n in image["shape"]]
    assert len(shape) == 3 + batched
    assert [int(n) for n in image_config["dims"]] == shape[batched:]
    layout = mc.ModelInput.Format.Value(image_config["format"])
    assert layout in (mc.ModelInput.FORMAT_NCHW, mc.ModelInput.FORMAT_NHWC)
    nhwc = layout == mc.ModelInput.FORMAT_NHWC
    h, w, c = shape[batched:] if nhwc else (*shape[batched + 1 :], shape[batched])
    names = {"input": image["name"], "output": scores["name"], "dtype": image["datatype"]}
    return {**names, "batched": batched, "nhwc": nhwc, "h": h, "w": w, "c": c}


def preprocess(photo, scaling: str, model: dict) -> np.ndarray:
    image = Image.open(photo).convert("L" if model["c"] == 1 else "RGB")
    resized = np.array(image.resize((model["w"], model["h"]), Image.BILINEAR))
    typed = resized.astype(triton_to_np_dtype(model["dtype"]))
    if scaling == "INCEPTION":
        typed = (typed / 127.5) - 1
    elif scaling == "VGG":
        typed = typed - np.asarray((123, 117, 104), dtype=typed.dtype)
    return typed if model["nhwc"] else typed.transpose(2, 0, 1)


def look(triton) -> dict:
    metadata = triton.plain(triton.client.get_model_metadata(LITE0, ""))
    config = triton.plain(triton.client.get_model_config(LITE0, ""))
    model = dimensions(metadata, config if triton.http else config["config"])
    assert model == {
        "input": "input",
        "output": "logits",
        "dtype": "FP32",
        "batched": True,
        "nhwc": False,
        "h": 224,
        "w": 224,
        "c": 3,
    }
    return model


def ask(triton, model: dict, batch: np.ndarray, mode: str, count: int, number: int):
    """One request of the example, sent in one of its ways."""
    tensor = triton.module.InferInput(model["input"], batch.shape, model["dtype"])
    tensor.set_data_from_numpy(batch)
    outputs = [triton.module.InferRequestedOutput(model["output"], class_count=count)]
    options = dict(request_id=str(number), model_version="", outputs=outputs)
    if mode == "sync":
        return triton.client.infer(LITE0, [tensor], **options)
    if triton.http:
        return triton.client.async_infer(LITE0, [tensor], **options).get_result()
    done = Queue()
    callback = lambda result, error: done.put((result, error))  # noqa: E731
    if mode == "stream":
        triton.client.start_stream(callback)
        triton.client.async_stream_infer(LITE0, [tensor], **options)
        triton.client.stop_stream()
    else:
        triton.client.async_infer(LITE0, [tensor], callback, **options)
    result, error = done.get(timeout=30)
    assert error is None
    return result


@pytest.mark.parametrize("scaling", ["NONE", "INCEPTION", "VGG"])
@pytest.mark.parametrize("protocol, mode", WAYS)
def test_image_client(server, reference, protocol, mode, scaling):
    triton = connect(server, protocol)
    model = look(triton)
    for number, size in ((1, 1), (2, len(PHOTOS))):
        batch = np.stack([preprocess(photo, scaling, model) for photo in PHOTOS[:size]])
        result = ask(triton, model, batch, mode, count=3, number=number)
        response = result.get_response()
        assert (response["id"] if triton.http else response.id) == str(number)
        rows = result.as_numpy(model["output"])
        assert (rows.shape, rows.dtype) == ((size, 3), np.object_)
        for row, expected in zip(rows, reference.logits(batch), strict=True):
            fields = ["".join(map(chr, entry)).split(":") for entry in row]
            best = ranking(expected, 3)
            assert [int(index) for _, index, _ in fields] == best
            assert [label for *_, label in fields] == [LITE0_LABELS[i] for i in best]
            scores = [float(score) for score, *_ in fields]
            np.testing.assert_allclose(scores, expected[best], rtol=1e-3, atol=1e-5)


def test_the_example_finds_the_cat(triton):
    """INCEPTION is the scaling that the demo model was made for, give or take a grey level."""
    model = look(triton)
    batch = preprocess(PHOTOS[0], "INCEPTION", model)[None]
    rows = ask(triton, model, batch, "sync", 1, 1).as_numpy("logits")
    assert b"cat" in rows[0][0]
