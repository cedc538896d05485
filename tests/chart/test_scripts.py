"""What is run in pods and told to people, run: with the real curl, rclone and server."""

import hashlib
import os
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest
from moto.server import ThreadedMotoServer

from chart import CHART, notes, pick, pod, render
from live import PHOTO, repository, serving

HTTP, BUCKET = CHART / "files/http.sh", CHART / "files/bucket.sh"
SHELLS = [["sh"], ["busybox", "sh"]] if shutil.which("busybox") else [["sh"]]


@contextmanager
def published(directory: Path):
    """A web server of that directory."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=directory))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def fetch(models: Path, lines: list, tmp: Path, shell=("sh",)):
    file = tmp / "files"
    file.write_text("\n".join(lines) + "\n")
    return subprocess.run([*shell, HTTP, models, file], capture_output=True, text=True, timeout=60)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_http_fetches_files_and_archives(tmp_path, shell):
    web, models = tmp_path / "web", tmp_path / "models"
    web.mkdir(), models.mkdir()
    (web / "a.onnx").write_bytes(b"model a")
    made = tmp_path / "b"
    (made / "3").mkdir(parents=True)
    (made / "3/model.onnx").write_bytes(b"model b")
    (made / "model.toml").write_text("[versions]\nall = true\n")
    with tarfile.open(web / "b.tar.gz", "w:gz") as tar:
        tar.add(made, ".")
    with published(web) as url:
        lines = [f"{digest(web / 'a.onnx')} a/7 {url}/a.onnx", f"{digest(web / 'b.tar.gz')} b {url}/b.tar.gz"]
        done = fetch(models, lines, tmp_path, shell)
    assert done.returncode == 0, done.stderr
    found = {str(p.relative_to(models)): p.read_bytes() for p in models.rglob("*") if p.is_file()}
    assert found == {"a/7/model.onnx": b"model a", "b/3/model.onnx": b"model b", "b/model.toml": b"[versions]\nall = true\n"}


def test_http_shows_nothing_whose_digest_is_wrong(tmp_path):
    web, models = tmp_path / "web", tmp_path / "models"
    web.mkdir(), models.mkdir()
    (web / "a.onnx").write_bytes(b"another's")
    with published(web) as url:
        done = fetch(models, [f"{'0' * 64} a/1 {url}/a.onnx"], tmp_path)
    assert done.returncode == 1 and "is not the file" in done.stderr
    assert not list((models / "a").iterdir())


def test_http_fails_where_nothing_is(tmp_path):
    with published(tmp_path) as url:
        script = HTTP.read_text().replace("--retry 5", "--retry 0")
        (tmp_path / "http.sh").write_text(script)
        (tmp_path / "files").write_text(f"{'0' * 64} a/1 {url}/missing.onnx\n")
        done = subprocess.run(["sh", tmp_path / "http.sh", tmp_path / "models", tmp_path / "files"], capture_output=True, text=True)
    assert done.returncode == 22 and "404" in done.stderr


def copy(bucket: Path | str, models: Path, shell=("sh",), **more) -> str:
    remote = bucket if isinstance(bucket, str) else f":local:{bucket}"
    env = {**os.environ, "REMOTE": remote, "RCLONE_CONFIG": str(models.parent / "none"), **more}
    done = subprocess.run([*shell, BUCKET, models], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen(models: Path) -> dict:
    """What the server would see: it passes over what begins with a dot."""
    files = (p for p in models.rglob("*") if p.is_file())
    shown = (p for p in files if not any(part.startswith(".") for part in p.relative_to(models).parts))
    return {str(p.relative_to(models)): p.read_text() for p in shown}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_bucket_is_followed(tmp_path, shell):
    bucket, models = tmp_path / "bucket", tmp_path / "models"

    def put(path: str, text: str):
        (bucket / path).parent.mkdir(parents=True, exist_ok=True)
        (bucket / path).write_text(text)

    put("m/1/model.onnx", "one")
    put("m/1/golden/a.json", "{}")
    put("m/model.toml", "a = 1")
    put("with space/1/model.onnx", "s")
    told = copy(bucket, models, shell)
    assert "m/1: put into place" in told
    first = {"m/1/model.onnx": "one", "m/1/golden/a.json": "{}", "m/model.toml": "a = 1", "with space/1/model.onnx": "s"}
    assert seen(models) == first
    # Nothing new: nothing is touched, so the server has nothing to load.
    inode = (models / "m/1/model.onnx").stat().st_ino
    assert copy(bucket, models, shell) == ""
    # A new version, a changed one, changed words beside them, and one that is gone.
    put("m/2/model.onnx", "two")
    put("m/1/model.onnx", "one, again")
    put("m/model.toml", "a = 22")
    shutil.rmtree(bucket / "with space")
    copy(bucket, models, shell)
    second = {**first, "m/1/model.onnx": "one, again", "m/model.toml": "a = 22", "m/2/model.onnx": "two"}
    del second["with space/1/model.onnx"]
    assert seen(models) == second
    assert (models / "m/1/model.onnx").stat().st_ino != inode
    shutil.rmtree(bucket / "m/1")
    assert "m/1: gone" in copy(bucket, models, shell)
    assert set(seen(models)) == {"m/model.toml", "m/2/model.onnx"}


def test_a_bucket_that_cannot_be_read_fails_at_the_start(tmp_path):
    env = {**os.environ, "REMOTE": f":local:{tmp_path}/none", "RCLONE_CONFIG": str(tmp_path / "x")}
    done = subprocess.run(["sh", BUCKET, tmp_path / "models"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0


def test_the_server_takes_a_version_from_a_bucket(tmp_path):
    bucket = repository(tmp_path / "bucket")
    copy(bucket, tmp_path / "models")
    with serving(tmp_path / "models") as rest:
        asked = ["curl", "-sS", "--data-binary", f"@{PHOTO}", f"{rest}/v1/models/efficientnet_lite0:predict"]
        assert "tiger cat" in subprocess.run(asked, capture_output=True, text=True).stdout


def test_a_bucket_of_s3_is_copied_as_the_chart_names_it(tmp_path):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        secret = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        session = boto3.Session("key", "secret", region_name="us-east-1")
        s3 = session.client("s3", endpoint_url=endpoint)
        s3.create_bucket(Bucket="models")
        s3.put_object(Bucket="models", Key="vision/m/1/model.onnx", Body=b"one")
        s3.put_object(Bucket="models", Key="another/m/1/model.onnx", Body=b"not this")
        bucket = {"url": "s3://models/vision", "options": {"endpoint": endpoint, "provider": "Other"}, "secret": "s3"}
        container = pod(render({"models": {"source": "bucket", "bucket": bucket}}))["initContainers"][0]
        assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
        remote = {e["name"]: e["value"] for e in container["env"]}["REMOTE"]
        copy(remote, tmp_path / "models", **secret)
        assert seen(tmp_path / "models") == {"m/1/model.onnx": "one"}
        # What can't be read takes nothing away.
        broken = {**os.environ, **secret, "REMOTE": remote.replace("models/vision", "nobodys/vision")}
        done = subprocess.run(["sh", BUCKET, tmp_path / "models"], env=broken, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and "directory not found" in done.stderr
        assert seen(tmp_path / "models") == {"m/1/model.onnx": "one"}
    finally:
        server.stop()


@pytest.fixture(scope="module")
def rest(tmp_path_factory):
    with serving(repository(tmp_path_factory.mktemp("models"))) as rest:
        yield rest


def test_the_notes_tell_the_exact_curl(rest, tmp_path):
    text = notes({})
    (command,) = [line.strip() for line in text.splitlines() if line.strip().startswith("curl")]
    assert command == "curl --data-binary @photo.jpg http://localhost:8501/v1/models/efficientnet_lite0:predict"
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    # What the forwarding would do.
    here = command.replace("localhost:8501", rest)
    done = subprocess.run(here, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert '"label":"tiger cat"' in done.stdout, done


def test_the_notes_follow_the_values():
    told = lambda values: next(l.strip() for l in notes(values).splitlines() if l.strip().startswith("curl"))
    keys = {"keys": {"enabled": True, "toml": "x"}, "tls": {"enabled": True, "existingSecret": "c"}}
    assert told(keys) == (
        'curl --cacert ca.pem -H "Authorization: Bearer $TOKEN" --data-binary @photo.jpg '
        "https://localhost:8501/v1/models/efficientnet_lite0:predict"
    )
    # There is no shell in the image, and no env.
    execs = [l.split(" -- ")[1] for l in notes(keys).splitlines() if " -- " in l]
    assert len(execs) == 2 and all(e.startswith("/usr/bin/ocelli ") and e.endswith(" --token $TOKEN") for e in execs)
    ingress = {"ingress": {"enabled": True, "host": "h.example", "tlsSecret": "web"}}
    assert told(ingress).endswith("https://h.example/v1/models/efficientnet_lite0:predict")
    gateway = {"gateway": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["g.example"]}}
    assert "https://g.example/v1/models/" in told(gateway)
    balancer = {"service": {"type": "LoadBalancer", "restPort": 80}}
    assert "http://$ADDRESS:80/v1/models/" in told(balancer)


def in_pod(values: dict, url: str, **env):
    container = pick(render(values), "Pod", "vision-ocelli-test")["spec"]["containers"][0]
    given = {e["name"]: e["value"] for e in container["env"] if "value" in e}
    command = [part.replace("--retry 10", "--retry 0") for part in container["command"]]
    return subprocess.run(command, env={**os.environ, **given, "URL": url, **env}, capture_output=True, text=True, timeout=60)


def test_helm_test_passes_where_the_model_is_served(rest):
    done = in_pod({}, f"http://{rest}")
    assert done.returncode == 0, done.stderr


def test_helm_test_fails_where_it_is_not(rest):
    assert in_pod({"test": {"model": "another"}}, f"http://{rest}").returncode != 0
    assert in_pod({}, "http://127.0.0.1:1").returncode != 0
