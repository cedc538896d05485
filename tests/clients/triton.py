"""Both of tritonclient's clients behind one face, so that a test runs over HTTP and over gRPC."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

# gRPC status -> HTTP status, as Triton pairs them.
STATUS = {"NOT_FOUND": "404", "INVALID_ARGUMENT": "400", "UNIMPLEMENTED": "501"}


@dataclass
class Triton:
    """`module` is tritonclient.http or tritonclient.grpc, `client` its client."""

    module: ModuleType
    client: object

    @property
    def http(self) -> bool:
        return self.module is tritonclient.http

    def input(self, name: str, array: np.ndarray):
        tensor = self.module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        return tensor

    def infer(self, model: str, outputs=None, version="", options=None, **inputs):
        tensors = [self.input(name, array) for name, array in inputs.items()]
        return self.client.infer(
            model, tensors, outputs=outputs, model_version=version, **(options or {})
        )

    def output(self, name: str, **options):
        return self.module.InferRequestedOutput(name, **options)

    def plain(self, answer) -> dict:
        """An answer as the dict that HTTP gives, names as in the protocol."""
        if self.http:
            return answer
        from google.protobuf.json_format import MessageToDict

        # int64 comes as a string here, and as a number by HTTP.
        return MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )

    def refuses(self, status: str, *words: str):
        """Expects an exception of that status with all of these words in its message."""
        return Refusal(STATUS[status] if self.http else f"StatusCode.{status}", words)


class Refusal:
    def __init__(self, status: str, words: tuple[str, ...]):
        self.status, self.words = status, words
        self.raises = pytest.raises(InferenceServerException)

    def __enter__(self):
        self.caught = self.raises.__enter__()

    def __exit__(self, *exception):
        swallowed = self.raises.__exit__(*exception)
        if swallowed:
            assert self.caught.value.status() == self.status, self.caught.value
            message = self.caught.value.message()
            assert all(word in message for word in self.words), (self.words, message)
        return swallowed


def connect(server, protocol: str) -> Triton:
    if protocol == "http":
        client = tritonclient.http.InferenceServerClient(server.rest, concurrency=4)
        return Triton(tritonclient.http, client)
    return Triton(tritonclient.grpc, tritonclient.grpc.InferenceServerClient(server.grpc))
