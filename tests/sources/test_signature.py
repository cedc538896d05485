"""Digests that must be there, and manifests that must be signed."""

import subprocess

import pytest

from minisign import Key
from models import put, times
from server import BINARY, manifest, until

KEY, OTHER = Key(), Key()


@pytest.fixture
def models(tmp_path):
    put(tmp_path / "models", "m/1/model.onnx", times(2))
    return tmp_path / "models"


def publish(bucket, models, key=None, signed=None):
    """Uploads all of a directory, its manifest, and the signature of that or of something else."""
    for path in models.rglob("*"):
        if path.is_file():
            bucket.put(str(path.relative_to(models)), path.read_bytes())
    text = manifest(models)
    if key:
        bucket.put("ocelli-models.json.minisig", key.sign(signed or text))
    bucket.put("ocelli-models.json", text)


def test_without_a_manifest_nothing_has_a_digest(bucket, cache, models):
    bucket.put("m/1/model.onnx", times(2))
    with bucket.serve(cache, "--require-digest", "true") as server:
        error = server.wait_error("--require-digest")
        assert f"{bucket.url}/ocelli-models.json" in error
        assert not server.is_ready() and not bucket.fetched()
        publish(bucket, models)
        server.wait_ready()
        assert server.predict("m") == 4.0


def test_what_a_manifest_does_not_tell_of_is_not_there(bucket, cache, models):
    publish(bucket, models)
    bucket.put("m/2/model.onnx", times(3))
    with bucket.serve(cache) as server:
        server.wait_ready()
        server.looks()
        assert server.predict("m") == 4.0 and bucket.fetched() == ["m/1/model.onnx"]


def test_what_a_trusted_key_signed_is_served(bucket, cache, models):
    publish(bucket, models, KEY)
    with bucket.serve(cache, "--trusted-key", f"{OTHER.public},{KEY.public}") as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        put(models, "m/2/model.onnx", times(3))
        publish(bucket, models, OTHER)
        server.wait_answer("m", 6.0)


@pytest.mark.parametrize(
    ("key", "signed", "says"),
    [
        (None, None, "does not exist"),
        (OTHER, None, "by a key that is not trusted"),
        (KEY, b'{"format": 1, "files": []}', "not what a trusted key signed"),
    ],
)
def test_what_no_trusted_key_signed_is_not_even_read(bucket, cache, models, key, signed, says):
    publish(bucket, models, key, signed)
    with bucket.serve(cache, "--trusted-key", KEY.public) as server:
        error = server.wait_error(says)
        assert f"{bucket.url}/ocelli-models.json.minisig" in error, error
        assert not server.is_ready() and not [f for f in bucket.fetched() if "onnx" in f]
        assert server.metric('ocelli_source_failures_total{reason="signature"}') >= 1
        publish(bucket, models, KEY)
        server.wait_ready()
        assert server.predict("m") == 4.0
        # The same when it was right before: what serves goes on.
        put(models, "m/2/model.onnx", times(3))
        publish(bucket, models, key or OTHER, signed)
        server.wait_error("trusted key" if key is KEY else "not trusted")
        assert server.predict("m") == 4.0 and server.loaded() == [("m", 1)]
        publish(bucket, models, KEY)
        server.wait_answer("m", 6.0)


def test_who_asks_for_digests_of_a_directory_is_told_how(models, tmp_path):
    for flags in (["--require-digest", "true"], ["--trusted-key", KEY.public]):
        told = subprocess.run([BINARY, "serve", "--models", models, *flags], capture_output=True, text=True)
        assert told.returncode == 64 and "file:///DIR" in told.stderr, told
    told = subprocess.run([BINARY, "serve", "--trusted-key", "RWQnone"], capture_output=True, text=True)
    assert "minisign.pub" in told.stderr, told


def test_what_came_before_a_key_was_asked_for_is_not_served(bucket, cache, models):
    publish(bucket, models)
    with bucket.serve(cache) as server:
        server.wait_ready()
    with bucket.serve(cache, "--trusted-key", KEY.public) as server:
        server.wait_error("does not exist")
        assert not server.is_ready() and server.predict("m") == 404
        # The bytes are the same, so only the signature comes.
        publish(bucket, models, KEY)
        server.wait_ready()
        assert bucket.fetched().count("m/1/model.onnx") == 1


def test_a_warm_cache_serves_what_was_signed_when_it_came(bucket, cache, models):
    publish(bucket, models, KEY)
    with bucket.serve(cache, "--trusted-key", KEY.public) as server:
        server.wait_ready()
    bucket.delete("ocelli-models.json.minisig")
    with bucket.serve(cache, "--trusted-key", KEY.public) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        server.wait_error("does not exist")
        until(lambda: not server.source()["ok"], "it is not told")
