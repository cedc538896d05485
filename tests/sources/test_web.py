"""Web servers and directories: what can't be listed, a private authority, single models with their digests."""

import hashlib
import json
import subprocess

import pytest

from models import put, times
from server import BINARY, Server, manifest, until
from web import Web, authority


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def root(tmp_path):
    put(tmp_path / "www", "models/m/model.toml", b"")
    put(tmp_path / "www", "models/m/1/model.onnx", times(2))
    put(tmp_path / "www", "models/ocelli-models.json", manifest(tmp_path / "www/models"))
    return tmp_path / "www"


def entry(path: str, content: bytes, **more) -> dict:
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest(), **more}


def test_a_web_server_with_a_private_authority(certificates, root, cache):
    ca, chain = certificates
    with Web(root, chain) as web, Server(f"{web.url}/models", cache, "--source-ca", str(ca)) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        until(lambda: web.asked("/models/ocelli-models.json", 304) > 2, "the manifest comes again and again")
        assert web.asked("/models/ocelli-models.json") == 1
        put(root, "models/m/2/model.onnx", times(3))
        put(root, "models/ocelli-models.json", manifest(root / "models"))
        server.wait_answer("m", 6.0)
        assert [web.asked(f"/models/m/{v}/model.onnx") for v in (1, 2)] == [1, 1]
        # A manifest with nothing in it says so.
        put(root, "models/ocelli-models.json", b'{"format": 1, "files": []}')
        server.wait_answer("m", 404)


def test_an_authority_that_nobody_trusts(certificates, root, cache):
    with Web(root, certificates[1]) as web, Server(f"{web.url}/models", cache) as server:
        assert web.url in server.wait_error("can't be reached")
        assert not web.log and not server.is_ready()


def test_http_is_asked_only_if_that_is_said(root, cache):
    with Web(root, None) as web:
        command = [BINARY, "serve", "--models", f"{web.url}/models", "--model-cache", cache]
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.returncode == 64 and "--source-allow-http" in refused.stderr, refused
        assert not web.log
        with Server(f"{web.url}/models", cache, "--source-allow-http", "true") as server:
            server.wait_ready()
            assert server.predict("m") == 4.0


def test_a_web_server_without_a_manifest_is_told_what_to_do(root, cache):
    with Web(root, None) as web, Server(f"{web.url}/other", cache, "--source-allow-http", "true") as server:
        error = server.wait_error("can't be listed")
        assert f"{web.url}/other/ocelli-models.json" in error and "ocelli manifest" in error


def test_a_single_model_from_a_url_with_its_digest(root, cache, tmp_path):
    """The manifest is a file here; what it names is elsewhere, some of it by a URL with a secret in it."""
    put(root, "secret/any-name.onnx", times(7))
    models = tmp_path / "prod.json"
    with Web(root, None) as web:
        one = entry("resnet/1/model.onnx", times(7), url=f"{web.url}/secret/any-name.onnx?token=sesame")
        two = entry("m/3/model.onnx", times(2), url=f"{web.url}/models/m/1/model.onnx", size=len(times(2)))
        models.write_text(json.dumps({"format": 1, "files": [one, two]}))
        with Server(f"file://{models}", cache, "--source-allow-http", "true", "--log-level", "debug") as server:
            server.wait_ready()
            assert (server.predict("resnet"), server.predict("m/versions/3")) == (14.0, 4.0)
            # Another digest for the same bytes: the old version goes on, and the message tells both.
            one["sha256"] = hashlib.sha256(times(8)).hexdigest()
            models.write_text(json.dumps({"format": 1, "files": [one, two]}))
            told = server.wait_failing("digest")["message"]
            assert one["sha256"] in told and hashlib.sha256(times(7)).hexdigest() in told
            assert server.predict("resnet") == 14.0
            # The bytes that it tells of come.
            put(root, "secret/any-name.onnx", times(8))
            server.wait_answer("resnet", 16.0)
            two["sha256"] = hashlib.sha256(b"").hexdigest()
            two["url"] = f"{web.url}/secret/any-name.onnx?token=wrong"
            models.write_text(json.dumps({"format": 1, "files": [one, two]}))
            server.wait_failing("forbidden")
            assert "sesame" not in json.dumps(server.log) + json.dumps(server.source())
            assert "token" not in json.dumps(server.source())


def test_a_manifest_from_elsewhere_reads_no_file_of_this_machine(root, cache):
    put(root, "m.json", json.dumps({"format": 1, "files": [entry("m/1/model.onnx", b"", url="file:///etc/hostname")]}).encode())
    with Web(root, None) as web, Server(f"{web.url}/m.json", cache, "--source-allow-http", "true") as server:
        server.wait_error("a file of this machine")
        assert not list((cache / "objects").iterdir())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps({"format": 1, "files": [entry("../../evil/1/model.onnx", b"")]}), "../../evil/1/model.onnx"),
        (json.dumps({"format": 1, "files": [entry("/etc/passwd", b"")]}), "/etc/passwd"),
        (json.dumps({"format": 1, "files": [{**entry("m/1/model.onnx", b""), "sha265": ""}]}), "did you mean `sha256`"),
        ('{"format": 1, "files": [', "EOF"),
    ],
)
def test_a_wrong_manifest_changes_nothing(root, cache, tmp_path, text, says):
    with Server(f"file://{root}/models", cache) as server:
        server.wait_ready()
        put(root, "models/ocelli-models.json", text.encode())
        assert "ocelli-models.json" in server.wait_error(says)
        assert server.predict("m") == 4.0
        assert not list(tmp_path.rglob("evil"))


def test_a_directory_by_its_url(root, cache):
    (root / "models/ocelli-models.json").unlink()
    with Server(f"file://{root}/models", cache) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        put(root, "models/m/2/model.onnx", times(3))
        server.wait_answer("m", 6.0)
        assert server.metric("ocelli_source_fetched_files_total") == 3
