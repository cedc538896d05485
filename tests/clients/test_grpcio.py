"""grpcio-health-checking and grpcio-reflection: what balancers, probes and grpcurl-likes ask."""

import urllib.request
from queue import Queue
from threading import Thread

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from reference import near, numbers
from repository import LITE0

Status = health_pb2.HealthCheckResponse


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture
def health(channel):
    return health_pb2_grpc.HealthStub(channel)


@pytest.mark.parametrize("service", ["", "affine", LITE0])
def test_check(health, service):
    answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == Status.SERVING


def test_check_of_what_is_not_known(health):
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="missing"), timeout=10)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def watch(health, service: str):
    """The queue of statuses that a watch tells, and the call to end it."""
    call = health.Watch(health_pb2.HealthCheckRequest(service=service))
    told = Queue()

    def listen():
        try:
            for answer in call:
                told.put(answer.status)
        except grpc.RpcError as error:
            told.put(error.code())

    Thread(target=listen, daemon=True).start()
    return told, call


@pytest.mark.parametrize(
    "service, status",
    [("", Status.SERVING), ("affine", Status.SERVING), ("missing", Status.SERVICE_UNKNOWN)],
)
def test_watch_tells_the_status_at_once_and_stays(health, service, status):
    told, call = watch(health, service)
    assert told.get(timeout=10) == status
    assert call.is_active()
    call.cancel()
    assert told.get(timeout=10) == grpc.StatusCode.CANCELLED


def test_watch_follows_a_model(server, health):
    def ask(verb: str):
        url = f"http://{server.rest}/v2/repository/models/reloaded/{verb}"
        urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=10).close()

    told, call = watch(health, "reloaded")
    whole, whole_call = watch(health, "")
    assert told.get(timeout=10) == Status.SERVING
    assert whole.get(timeout=10) == Status.SERVING
    ask("unload")
    assert told.get(timeout=10) in (Status.NOT_SERVING, Status.SERVICE_UNKNOWN)
    ask("load")
    assert told.get(timeout=10) == Status.SERVING
    # One model less is no reason to take the server out of rotation.
    assert whole.empty()
    call.cancel()
    whole_call.cancel()


SERVICES = {
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "grpc.health.v1.Health",
}


def test_reflection_lists_the_services(channel):
    listed = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert listed >= SERVICES
    assert any(name.endswith(".ServerReflection") for name in listed)


def test_reflection_v1(channel):
    """grpcio-reflection has v1alpha's messages only; v1's are the same on the wire."""
    ask = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.TensorProto"),
    ]
    listed, found = ask(iter(requests), timeout=10)
    assert {service.name for service in listed.list_services_response.service} >= SERVICES
    assert found.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize("service", SERVICES)
def test_reflection_describes_every_method(channel, service):
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    methods = pool.FindServiceByName(service).methods
    assert methods
    for method in methods:
        # Resolving these asks for every file that they need.
        GetMessageClass(method.input_type)()
        GetMessageClass(method.output_type)()


def test_reflection_of_what_is_not_there(channel):
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    # tonic-reflection ends the stream with the status, where the protocol has a message for it.
    with pytest.raises(grpc.RpcError) as caught:
        pool.FindServiceByName("no.such.Service")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def call(channel, service: str, name: str, **fields):
    """Calls a method knowing nothing but its name."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName(service).methods_by_name[name]
    ask = channel.unary_unary(
        f"/{service}/{name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return ask(GetMessageClass(method.input_type)(**fields), timeout=10)


def test_a_call_by_reflection_to_triton(channel, reference):
    x = numbers(1, 4)
    tensor = {"name": "x", "shape": x.shape, "datatype": "FP32"}
    answer = call(
        channel,
        "inference.GRPCInferenceService",
        "ModelInfer",
        model_name="affine",
        model_version="1",
        inputs=[tensor],
        raw_input_contents=[x.tobytes()],
    )
    got = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(1, 4)
    near(got, reference.run("affine", 1, x=x)["y"])


def test_a_call_by_reflection_to_tensorflow_serving(channel, reference):
    x = numbers(1, 4)
    shape = {"dim": [{"size": size} for size in x.shape]}
    tensor = {"dtype": 1, "tensor_shape": shape, "float_val": x.ravel()}
    answer = call(
        channel,
        "tensorflow.serving.PredictionService",
        "Predict",
        model_spec={"name": "affine", "version": {"value": 1}},
        inputs={"x": tensor},
    )
    y = answer.outputs["y"]
    got = np.frombuffer(y.tensor_content, np.float32) if y.tensor_content else y.float_val
    near(np.reshape(got, (1, 4)), reference.run("affine", 1, x=x)["y"])
