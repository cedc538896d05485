"""TLS, keys and rates, right and wrong, by tritonclient over HTTP and gRPC."""

import hashlib
import os
import ssl
import subprocess

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from server import Server

pytestmark = pytest.mark.skipif(
    "CLIENTS_GRPC" in os.environ, reason="the keys are those of a server of its own"
)

KEYS = {"scanner": ('["predict"]', ""), "slow": ('["predict"]', "rate = 0.01\nburst = 2\n"),
        "ops": ('["admin"]', "")}


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A server with a certificate and three keys, whose tokens are their names' tokens."""
    made = tmp_path_factory.mktemp("secure")
    cert, key = made / "cert.pem", made / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )
    keys = made / "keys.toml"
    keys.write_text("".join(
        f'[[key]]\nname = "{name}"\nrights = {rights}\n{rate}'
        f'sha256 = "{hashlib.sha256(f"token-{name}".encode()).hexdigest()}"\n'
        for name, (rights, rate) in KEYS.items()
    ))
    server = Server(made / "models", "--tls-cert", str(cert), "--tls-key", str(key),
                    "--keys-file", str(keys))
    server.cert = str(cert)
    yield server
    server.stop()


def ask(secure, door: str, headers: dict | None, trusting: bool = True):
    x = np.arange(4, dtype=np.float32)[None]
    if door == "grpc":
        roots = secure.cert if trusting else None
        client = tritonclient.grpc.InferenceServerClient(
            secure.grpc, ssl=True, root_certificates=roots)
        tensor = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    else:
        options = {"ca_certs": secure.cert} if trusting else {}
        client = tritonclient.http.InferenceServerClient(
            secure.rest, ssl=True, ssl_options=options,
            ssl_context_factory=ssl.create_default_context)
        tensor = tritonclient.http.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(x)
    try:
        return client.infer("affine", [tensor], headers=headers).as_numpy("y")
    finally:
        client.close()


def bearer(name: str) -> dict:
    return {"authorization": f"Bearer token-{name}"}


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_key_opens_what_it_has_the_right_to(secure, door):
    expected = ask(secure, door, bearer("scanner"))
    assert expected.shape[0] == 1
    np.testing.assert_array_equal(ask(secure, door, {"x-api-key": "token-scanner"}), expected)
    for headers, http, grpc in [
        (None, "401", "UNAUTHENTICATED"),
        (bearer("nobody"), "401", "UNAUTHENTICATED"),
        (bearer("ops"), "403", "PERMISSION_DENIED"),
    ]:
        with pytest.raises(InferenceServerException) as caught:
            ask(secure, door, headers)
        assert caught.value.status() == (http if door == "http" else f"StatusCode.{grpc}")


def test_a_rate_holds_for_both_doors_together(secure):
    ask(secure, "http", bearer("slow"))
    ask(secure, "grpc", bearer("slow"))
    for door, status in [("http", "429"), ("grpc", "StatusCode.RESOURCE_EXHAUSTED")]:
        with pytest.raises(InferenceServerException) as caught:
            ask(secure, door, bearer("slow"))
        assert caught.value.status() == status


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_certificate_that_is_not_trusted_is_not_spoken_to(secure, door):
    with pytest.raises((InferenceServerException, ssl.SSLError)):
        ask(secure, door, bearer("scanner"), trusting=False)
