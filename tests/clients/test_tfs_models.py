"""tensorflow-serving-api: GetModelMetadata and the ModelService."""

import pytest

from reference import near, numbers
from repository import LITE0
from tfserving import (
    TYPES,
    array,
    content,
    fill,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    refuses,
    types_pb2,
)

State = get_model_status_pb2.ModelVersionStatus


def metadata(serving, name: str, fields=("signature_def",), **spec):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    fill(request.model_spec, name, **spec)
    return serving.prediction.GetModelMetadata(request, timeout=30)


def signatures(answer) -> dict:
    packed = answer.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    unpacked = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(unpacked)
    return unpacked.signature_def


def tensors(infos) -> dict[str, tuple]:
    return {
        name: (info.dtype, [dim.size for dim in info.tensor_shape.dim])
        for name, info in infos.items()
    }


def status(serving, name: str, **spec):
    request = get_model_status_pb2.GetModelStatusRequest()
    fill(request.model_spec, name, **spec)
    return serving.models.GetModelStatus(request, timeout=30).model_version_status


def test_metadata(serving):
    answer = metadata(serving, LITE0)
    assert (answer.model_spec.name, answer.model_spec.version.value) == (LITE0, 1)
    signature = signatures(answer)["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    image = (types_pb2.DT_FLOAT, [-1, 3, 224, 224])
    assert tensors(signature.inputs) == {"input": image}
    assert tensors(signature.outputs) == {"logits": (types_pb2.DT_FLOAT, [-1, 1000])}


@pytest.mark.parametrize("datatype", TYPES)
def test_metadata_names_every_datatype(serving, datatype):
    signature = signatures(metadata(serving, f"identity_{datatype.lower()}"))["serving_default"]
    assert tensors(signature.inputs) == {"x": (TYPES[datatype][0], [-1, 3])}
    assert tensors(signature.outputs) == {"y": (TYPES[datatype][0], [-1, 3])}


def test_metadata_of_versions_and_labels(serving):
    for spec, version in (({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1)):
        assert metadata(serving, "affine", **spec).model_spec.version.value == version


def test_metadata_refusals(serving):
    with refuses("NOT_FOUND", "missing"):
        metadata(serving, "missing")
    with refuses("NOT_FOUND", "9"):
        metadata(serving, "affine", version=9)
    with refuses("INVALID_ARGUMENT"):
        metadata(serving, "affine", fields=())
    with refuses("INVALID_ARGUMENT", "graph"):
        metadata(serving, "affine", fields=("graph",))


def test_status(serving):
    states = {entry.version: entry for entry in status(serving, "affine")}
    assert set(states) == {1, 2}
    for entry in states.values():
        assert entry.state == State.AVAILABLE
        assert (entry.status.error_code, entry.status.error_message) == (0, "")
    assert [entry.version for entry in status(serving, "affine", version=1)] == [1]
    assert [entry.version for entry in status(serving, "affine", label="stable")] == [1]
    with refuses("NOT_FOUND", "missing"):
        status(serving, "missing")
    with refuses("NOT_FOUND", "9"):
        status(serving, "affine", version=9)


def reload(serving, models, labels: dict[str, int], **bases):
    """Asks for the models that are there, with labels for `affine`."""
    request = model_management_pb2.ReloadConfigRequest()
    listed = request.config.model_config_list.config
    for directory in sorted(models.iterdir()):
        config = listed.add(name=directory.name, base_path=str(directory))
        config.model_platform = "onnx"
        if directory.name == "affine":
            config.model_version_policy.all.SetInParent()
            config.version_labels.update(labels)
    for name, base in bases.items():
        listed.add(name=name, base_path=str(base), model_platform="onnx")
    return serving.models.HandleReloadConfigRequest(request, timeout=30)


def test_reloading_what_is_there(serving, models, server):
    answer = reload(serving, models, {"stable": 1, "canary": 2})
    assert (answer.status.error_code, answer.status.error_message) == (0, "")
    x = numbers(1, 4)
    answer = serving.predict("affine", {"x": content(x)}, label="stable")
    near(array(answer.outputs["y"]), x * 2 + 1)


def test_reloading_moves_a_label(serving, models, server):
    x = numbers(1, 4)
    try:
        reload(serving, models, {"stable": 2, "canary": 1})
        answer = serving.predict("affine", {"x": content(x)}, label="stable")
        assert answer.model_spec.version.value == 2
        near(array(answer.outputs["y"]), x * 3 - 1)
    finally:
        reload(serving, models, {"stable": 1, "canary": 2})
    answer = serving.predict("affine", {"x": content(x)}, label="stable")
    assert answer.model_spec.version.value == 1


def test_reload_refusals(serving, models, server):
    with refuses("INVALID_ARGUMENT"):
        empty = model_management_pb2.ReloadConfigRequest()
        serving.models.HandleReloadConfigRequest(empty, timeout=30)
    with refuses("INVALID_ARGUMENT", "elsewhere"):
        reload(serving, models, {"stable": 1, "canary": 2}, elsewhere=models / "elsewhere")
    # A refused configuration changes nothing.
    assert {entry.state for entry in status(serving, "affine")} == {State.AVAILABLE}
