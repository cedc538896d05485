"""A bucket of Google Cloud Storage: moto's server again, which answers what Google's client asks for, since the XML API
of Google's service is that of S3; and a metadata server, from which a machine at Google has its token."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from models import times
from server import Server

TOKEN = "ya29.of-the-instance"


class Metadata(BaseHTTPRequestHandler):
    def do_GET(self):
        path = "/computeMetadata/v1/instance/service-accounts/default/token"
        known = self.path.split("?")[0] == path and self.headers["metadata-flavor"] == "Google"
        body = json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(body if known else b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_bucket_read_with_the_instances_token(bucket, metadata, cache, tmp_path):
    bucket.put("m/1/model.onnx", times(2))
    bucket.put("m/model.toml", b"")
    url = f"gs://{bucket.name}/models"
    bucket.proxy.bearer = TOKEN
    env = {"GOOGLE_BASE_URL": bucket.proxy.url, "GOOGLE_ALLOW_HTTP": "true", "GCE_METADATA_HOST": metadata,
           "HOME": str(tmp_path)}
    with Server(url, cache, env=env) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        with bucket.proxy.fault("cut", of="2/model.onnx"):
            bucket.put("m/2/model.onnx", times(3))
            server.wait_failing("truncated")
            assert server.predict("m") == 4.0
        server.wait_answer("m", 6.0)
        assert server.source()["ok"]
        bucket.delete("m/2/model.onnx")
        server.wait_answer("m", 4.0)
    assert {path.split("?")[0].split("/")[1] for _, path in bucket.proxy.asked} == {bucket.name}


def test_a_service_account_that_may_not(bucket, cache, tmp_path):
    bucket.put("m/1/model.onnx", times(2))
    key = tmp_path / "key.json"
    account = {"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": True}
    key.write_text(json.dumps({**account, "gcs_base_url": bucket.proxy.url}))
    env = {"GOOGLE_SERVICE_ACCOUNT": str(key), "GOOGLE_ALLOW_HTTP": "true"}
    url = f"gs://{bucket.name}/models"
    with bucket.proxy.fault(403, of=bucket.name):
        with Server(url, cache, env=env) as server:
            error = server.wait_error("forbidden")
            assert url in error and "GOOGLE_SERVICE_ACCOUNT" in error, error
