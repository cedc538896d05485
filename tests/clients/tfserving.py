"""TensorFlow Serving's own stubs, without TensorFlow, and tensors to and from numpy.

tensorflow-serving-api has the stubs and wants TensorFlow for a handful of messages;
tensorflow-protobuf has those, but for the file that lists the error codes, which is made here.
"""

import sys
from types import ModuleType

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS "
    "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED "
    "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split()


def make_error_codes() -> None:
    name = "tensorflow/core/protobuf/error_codes.proto"
    file = descriptor_pb2.FileDescriptorProto(name=name, package="tensorflow.error")
    file.syntax = "proto3"
    codes = file.enum_type.add(name="Code")
    for number, code in enumerate(CODES):
        codes.value.add(name=code, number=number)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    module = ModuleType("tensorflow.core.protobuf.error_codes_pb2")
    module.xla_dot_tsl_dot_protobuf_dot_error__codes__pb2 = module
    sys.modules[module.__name__] = module


make_error_codes()

from tensorflow.core.example import example_pb2, feature_pb2  # noqa: E402
from tensorflow.core.framework import tensor_pb2, types_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

# The tests take the messages from here, since they can't be imported before make_error_codes().
__all__ = [
    "classification_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "model_management_pb2",
    "prediction_service_pb2_grpc",
    "regression_pb2",
    "types_pb2",
]

# Protocol datatype -> (TensorFlow's, the field of TensorProto with typed values).
TYPES = {
    "BOOL": (types_pb2.DT_BOOL, "bool_val"),
    "INT8": (types_pb2.DT_INT8, "int_val"),
    "INT16": (types_pb2.DT_INT16, "int_val"),
    "INT32": (types_pb2.DT_INT32, "int_val"),
    "INT64": (types_pb2.DT_INT64, "int64_val"),
    "UINT8": (types_pb2.DT_UINT8, "int_val"),
    "UINT16": (types_pb2.DT_UINT16, "int_val"),
    "UINT32": (types_pb2.DT_UINT32, "uint32_val"),
    "UINT64": (types_pb2.DT_UINT64, "uint64_val"),
    "FP16": (types_pb2.DT_HALF, "half_val"),
    "FP32": (types_pb2.DT_FLOAT, "float_val"),
    "FP64": (types_pb2.DT_DOUBLE, "double_val"),
}
NUMPY = {
    types_pb2.DT_BOOL: np.bool_,
    types_pb2.DT_INT8: np.int8,
    types_pb2.DT_INT16: np.int16,
    types_pb2.DT_INT32: np.int32,
    types_pb2.DT_INT64: np.int64,
    types_pb2.DT_UINT8: np.uint8,
    types_pb2.DT_UINT16: np.uint16,
    types_pb2.DT_UINT32: np.uint32,
    types_pb2.DT_UINT64: np.uint64,
    types_pb2.DT_HALF: np.float16,
    types_pb2.DT_FLOAT: np.float32,
    types_pb2.DT_DOUBLE: np.float64,
}
FIELDS = dict(TYPES.values())


def empty(dtype: int, shape) -> tensor_pb2.TensorProto:
    tensor = tensor_pb2.TensorProto(dtype=dtype)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def dtype_of(array: np.ndarray) -> int:
    return next(number for number, dtype in NUMPY.items() if dtype == array.dtype)


def content(array: np.ndarray) -> tensor_pb2.TensorProto:
    """As raw bytes, which is what tf.make_tensor_proto makes of an array."""
    tensor = empty(dtype_of(array), array.shape)
    tensor.tensor_content = array.tobytes()
    return tensor


def typed(array: np.ndarray) -> tensor_pb2.TensorProto:
    """As numbers in the field of the type; a half is the number that its bits are."""
    tensor = empty(dtype_of(array), array.shape)
    values = array.view(np.uint16) if array.dtype == np.float16 else array
    getattr(tensor, FIELDS[tensor.dtype]).extend(values.ravel().tolist())
    return tensor


def strings(values: list[bytes]) -> tensor_pb2.TensorProto:
    tensor = empty(types_pb2.DT_STRING, [len(values)])
    tensor.string_val.extend(values)
    return tensor


def array(tensor: tensor_pb2.TensorProto) -> np.ndarray:
    """What tf.make_ndarray makes of a tensor that is spelt out in full."""
    dtype = NUMPY[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    values = getattr(tensor, FIELDS[tensor.dtype])
    if dtype == np.float16:
        return np.array(values, np.uint16).view(np.float16).reshape(shape)
    return np.array(values, dtype).reshape(shape)


def example(**features) -> example_pb2.Example:
    """tf.Example of float, integer or bytes lists."""
    made = example_pb2.Example()
    for name, values in features.items():
        kind = {bytes: "bytes_list", int: "int64_list", float: "float_list"}[type(values[0])]
        value_list = getattr(feature_pb2.Feature(), kind)
        value_list.value.extend(values)
        made.features.feature[name].CopyFrom(feature_pb2.Feature(**{kind: value_list}))
    return made


class TFServing:
    """Both services on one channel."""

    def __init__(self, address: str):
        self.channel = grpc.insecure_channel(address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, name: str, tensors: dict, outputs=(), timeout=30, **spec):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        fill(request.model_spec, name, **spec)
        for key, tensor in tensors.items():
            request.inputs[key].CopyFrom(tensor)
        return self.prediction.Predict(request, timeout=timeout)


def fill(model_spec, name: str, version=None, label="", signature="") -> None:
    model_spec.name = name
    model_spec.signature_name = signature
    if version is not None:
        model_spec.version.value = version
    if label:
        model_spec.version_label = label


class refuses:  # noqa: N801 (reads as a phrase)
    """Expects an RpcError of that code with all of these words in its details."""

    def __init__(self, code: str, *words: str):
        self.code, self.words, self.raises = code, words, pytest.raises(grpc.RpcError)

    def __enter__(self):
        self.caught = self.raises.__enter__()

    def __exit__(self, *exception):
        swallowed = self.raises.__exit__(*exception)
        if swallowed:
            error = self.caught.value
            assert error.code().name == self.code, error
            assert all(word in error.details() for word in self.words), error.details()
        return swallowed
