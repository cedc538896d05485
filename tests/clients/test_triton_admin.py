"""tritonclient: health, metadata, configuration, statistics, the repository, what is left out."""

import time

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from reference import near, numbers
from repository import DTYPES, LITE0
from triton import connect


def tensors(listed: list[dict]) -> list[tuple]:
    return [(t["name"], t["datatype"], [int(n) for n in t["shape"]]) for t in listed]


def config(triton, model: str, version="") -> dict:
    answer = triton.plain(triton.client.get_model_config(model, version))
    return answer if triton.http else answer["config"]


def statistics(triton, model: str = "", version: str = "") -> dict[tuple, dict]:
    answer = triton.plain(triton.client.get_inference_statistics(model, version))
    return {(entry["name"], entry["version"]): entry for entry in answer["model_stats"]}


def index(triton) -> dict[tuple, str]:
    answer = triton.plain(triton.client.get_model_repository_index())
    listed = answer if triton.http else answer["models"]
    return {(entry["name"], entry.get("version", "")): entry["state"] for entry in listed}


def test_health(triton):
    assert triton.client.is_server_live() is True
    assert triton.client.is_server_ready() is True
    assert triton.client.is_model_ready("affine") is True
    assert triton.client.is_model_ready("affine", "1") is True
    assert triton.client.is_model_ready("affine", "9") is False
    assert triton.client.is_model_ready("missing") is False


def test_server_metadata(triton):
    metadata = triton.plain(triton.client.get_server_metadata())
    assert metadata["name"] and metadata["version"]
    told = set(metadata["extensions"])
    assert told >= {"binary_tensor_data", "classification", "model_configuration"}
    assert told >= {"model_repository", "parameters", "statistics"}
    # What is not there is not claimed.
    assert not told & {"sequence", "system_shared_memory", "cuda_shared_memory", "trace", "logging"}


def test_model_metadata(triton):
    pair = triton.plain(triton.client.get_model_metadata("pair"))
    assert (pair["name"], pair["versions"]) == ("pair", ["1"])
    assert pair["platform"]
    assert tensors(pair["inputs"]) == [("a", "FP32", [-1, 3]), ("b", "FP32", [-1, 3])]
    assert tensors(pair["outputs"]) == [("sum", "FP32", [-1, 3]), ("difference", "FP32", [-1, 3])]
    lite0 = triton.plain(triton.client.get_model_metadata(LITE0))
    assert tensors(lite0["inputs"]) == [("input", "FP32", [-1, 3, 224, 224])]
    assert tensors(lite0["outputs"]) == [("logits", "FP32", [-1, 1000])]
    single = triton.plain(triton.client.get_model_metadata("single"))
    assert tensors(single["inputs"]) == [("x", "FP32", [1, 3])]


@pytest.mark.parametrize("datatype", DTYPES)
def test_metadata_and_config_name_every_datatype(triton, datatype):
    model = f"identity_{datatype.lower()}"
    metadata = triton.plain(triton.client.get_model_metadata(model))
    assert tensors(metadata["inputs"]) == [("x", datatype, [-1, 3])]
    assert tensors(metadata["outputs"]) == [("y", datatype, [-1, 3])]
    assert config(triton, model)["input"][0]["data_type"] == f"TYPE_{datatype}"


def test_metadata_of_versions(triton):
    whole = triton.plain(triton.client.get_model_metadata("affine"))
    assert whole["versions"] == ["1", "2"]
    assert triton.plain(triton.client.get_model_metadata("affine", "1"))["name"] == "affine"
    with triton.refuses("NOT_FOUND", "affine", "9"):
        triton.client.get_model_metadata("affine", "9")
    with triton.refuses("NOT_FOUND", "missing"):
        triton.client.get_model_metadata("missing")


def test_model_config(triton):
    lite0 = config(triton, LITE0)
    assert lite0["name"] == LITE0
    assert lite0["max_batch_size"] == 8
    # The batch is not among the dims of a model that has one.
    [image], [logits] = lite0["input"], lite0["output"]
    assert (image["name"], image["data_type"]) == ("input", "TYPE_FP32")
    assert image["format"] == "FORMAT_NCHW"
    assert [int(n) for n in image["dims"]] == [3, 224, 224]
    assert (logits["name"], logits["data_type"]) == ("logits", "TYPE_FP32")
    assert [int(n) for n in logits["dims"]] == [1000]
    assert logits["label_filename"] == "labels.txt"
    single = config(triton, "single")
    assert single["max_batch_size"] in (0, 1)
    batch = [1] if single["max_batch_size"] == 0 else []
    assert [int(n) for n in single["input"][0]["dims"]] == [*batch, 3]
    for model, version in (("missing", ""), ("affine", "9")):
        with triton.refuses("NOT_FOUND", model):
            triton.client.get_model_config(model, version)


def test_statistics_count_requests_and_rows(triton):
    def counts():
        entry = statistics(triton, "affine", "1")["affine", "1"]
        success = entry["inference_stats"]["success"]
        fields = entry["inference_count"], success["count"], success["ns"], entry["last_inference"]
        return [int(n) for n in fields]

    rows_before, requests_before, ns_before, _ = counts()
    for _ in range(3):
        triton.infer("affine", version="1", x=numbers(2, 4))
    rows, requests, ns, last = counts()
    assert (rows - rows_before, requests - requests_before) == (6, 3)
    assert ns > ns_before
    assert abs(last / 1e3 - time.time()) < 60, "last_inference is in milliseconds since 1970"


def test_statistics_of_everything_and_of_one(triton):
    everything = statistics(triton)
    assert {("affine", "1"), ("affine", "2"), (LITE0, "1")} <= set(everything)
    assert set(statistics(triton, "affine")) == {("affine", "1"), ("affine", "2")}
    entry = everything[LITE0, "1"]
    parts = {"success", "fail", "queue", "compute_input", "compute_infer", "compute_output"}
    assert parts <= set(entry["inference_stats"])
    with pytest.raises(InferenceServerException, match="missing"):
        triton.client.get_inference_statistics("missing")


def test_repository_index(triton):
    ready = {("affine", "1"), ("affine", "2"), (LITE0, "1"), ("single", "1"), ("ranked", "1")}
    states = index(triton)
    assert {states.get(entry) for entry in ready} == {"READY"}


def test_unload_and_load(triton):
    x = numbers(1, 2)
    triton.client.unload_model("reloaded")
    # Triton, too, answers before the last request has left the model.
    deadline = time.monotonic() + 10
    while triton.client.is_model_ready("reloaded") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert triton.client.is_model_ready("reloaded") is False
    assert index(triton)["reloaded", "1"] in ("UNLOADING", "UNAVAILABLE")
    with pytest.raises(InferenceServerException, match="reloaded"):
        triton.infer("reloaded", x=x)
    # The directory is watched: what was unloaded by request stays so until it is asked for.
    time.sleep(1)
    assert triton.client.is_model_ready("reloaded") is False
    triton.client.load_model("reloaded")
    assert triton.client.is_model_ready("reloaded") is True
    near(triton.infer("reloaded", x=x).as_numpy("y"), x * 5)
    assert index(triton)["reloaded", "1"] == "READY"


def test_loading_what_is_not_there(triton):
    with pytest.raises(InferenceServerException, match="missing"):
        triton.client.load_model("missing")
    assert triton.client.is_server_ready() is True


def test_shared_memory_is_refused(triton):
    with triton.refuses("UNIMPLEMENTED", "shared memory"):
        triton.client.register_system_shared_memory("region", "/region", 64)
    with triton.refuses("UNIMPLEMENTED", "shared memory"):
        triton.client.register_cuda_shared_memory("region", b"aGFuZGxl", 0, 64)


def test_input_in_shared_memory_is_refused(triton):
    tensor = triton.module.InferInput("x", [1, 4], "FP32")
    tensor.set_shared_memory("region", 16)
    with pytest.raises(InferenceServerException, match="shared"):
        triton.client.infer("affine", [tensor])


def test_statuses_agree_between_the_doors(server):
    """A model unloaded by one door is gone at the other."""
    http, grpc = connect(server, "http"), connect(server, "grpc")
    http.client.unload_model("reloaded")
    deadline = time.monotonic() + 10
    while grpc.client.is_model_ready("reloaded") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert grpc.client.is_model_ready("reloaded") is False
    grpc.client.load_model("reloaded")
    assert http.client.is_model_ready("reloaded") is True
    ones = np.ones((1, 2), np.float32)
    near(http.infer("reloaded", x=ones).as_numpy("y"), ones * 5)
