"""The cache: warm starts, kills, other processes, other bytes, a full disk."""

import json
import os
import subprocess
import time

import pytest

from models import times
from server import BINARY, Server, until


def put_m(bucket):
    bucket.put("m/model.toml", b"")
    bucket.put("m/1/model.onnx", times(2))


def test_a_warm_start_fetches_nothing(bucket, cache):
    put_m(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
    fetched = len(bucket.fetched())
    with bucket.serve(cache) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        until(lambda: server.source()["ok"], "it does not look")
        assert len(bucket.fetched()) == fetched
        assert server.metric("ocelli_source_fetched_files_total") == 0


def test_a_warm_start_needs_no_source(bucket, cache):
    put_m(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
    bucket.proxy.close()
    with bucket.serve(cache) as server:
        began = time.monotonic()
        server.wait_ready()
        assert time.monotonic() - began < 3
        assert server.predict("m") == 4.0
        error = server.wait_error("can't be reached")
        told = server.source()
        assert bucket.url in error and not told["ok"] and told["models"] == 1
        assert "last_good_seconds" not in told
        assert server.metric('ocelli_source_failures_total{reason="unreachable"}') >= 1
        assert server.metric("ocelli_source_age_seconds") > 0
        line = next(e for e in server.log if e.get("reason") == "unreachable")
        assert line["level"] == "ERROR" and line["models"] == 1, line


def test_a_cold_start_waits_for_the_source(bucket, cache):
    put_m(bucket)
    with bucket.proxy.fault(500, of=bucket.name):
        with bucket.serve(cache) as server:
            server.wait_error("500")
            assert not server.is_ready() and server.predict("m") == 404


def test_killed_in_the_middle_of_a_fetch(bucket, cache):
    put_m(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
        with bucket.proxy.fault("stall", of="m/2/model.onnx"):
            bucket.put("m/2/model.onnx", times(3))
            incoming = cache / "incoming"
            until(lambda: any(f.stat().st_size for f in incoming.iterdir()), "nothing comes in")
            server.kill()
    assert list(incoming.iterdir())
    server.check_cache()
    with bucket.proxy.fault("stall", of="m/2/model.onnx"):
        with bucket.serve(cache) as server:
            server.wait_ready()
            assert server.predict("m") == 4.0
            server.kill()
    with bucket.serve(cache) as server:
        server.wait_answer("m", 6.0)
        until(lambda: not list(incoming.iterdir()), "something is left")
        assert bucket.fetched().count("m/1/model.onnx") == 1
        server.check_cache()


def test_killed_again_and_again_while_models_come(bucket, cache):
    for n in range(12):
        bucket.put(f"m{n}/model.toml", b"")
        bucket.put(f"m{n}/1/model.onnx", times(n, kilobytes=512))
    for n in range(6):
        with bucket.serve(cache) as server:
            time.sleep(0.05 * n)
            server.kill()
            server.check_cache()
            for link in (cache / "models").iterdir():
                assert not link.is_symlink() or (link / "1/model.onnx").stat().st_size > 512_000
    with bucket.serve(cache) as server:
        server.wait_ready()
        until(lambda: server.source()["ok"], "it does not look")
        for n in range(12):
            server.wait_answer(f"m{n}", 2.0 * n)


def test_a_cache_has_one_process(bucket, cache):
    put_m(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
        with pytest.raises(RuntimeError), bucket.serve(cache):
            pass
        command = [BINARY, "serve", "--models", bucket.url, "--model-cache", cache]
        doors = ["--rest-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]
        second = subprocess.run([*command, *doors], capture_output=True, text=True)
        assert second.returncode == 1 and "--model-cache" in second.stderr, second
        assert str(cache) in second.stderr
        assert server.predict("m") == 4.0


def test_bytes_that_changed_in_the_cache_are_found_out_at_the_start(bucket, cache):
    put_m(bucket)
    bucket.put("n/1/model.onnx", times(5))
    with bucket.serve(cache) as server:
        server.wait_ready()
    object = (cache / "models/m/1/model.onnx").resolve()
    object.write_bytes(times(9))
    with bucket.serve(cache) as server:
        server.wait_ready()
        server.wait_answer("m", 4.0)
        assert server.predict("n") == 10.0
        assert bucket.fetched().count("m/1/model.onnx") == 2
        assert bucket.fetched().count("n/1/model.onnx") == 1
        assert any("not what its name says" in e["message"] for e in server.log)


def test_another_sources_cache_is_not_served(bucket, cache):
    put_m(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
    bucket.url += "-of-another-team"
    with bucket.serve(cache) as server:
        server.wait_error("lists no model")
        assert not server.is_ready() and server.predict("m") == 404


def test_traffic_is_kept_beside_the_models(bucket, cache):
    put_m(bucket)
    bucket.put("m/2/model.onnx", times(3))
    bucket.put("m/model.toml", b"[versions]\nall = true\n")
    with bucket.serve(cache) as server:
        server.wait_ready()
        subprocess.run([BINARY, "traffic", "set", "m", "1=100", "--admin", server.admin], check=True, capture_output=True)
        server.wait_answer("m", 4.0)
    with bucket.serve(cache) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
def test_a_full_disk_is_told_and_what_serves_goes_on(bucket, cache):
    put_m(bucket)
    cache.mkdir()
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", cache], capture_output=True).returncode:
        pytest.skip("file systems can't be mounted here")
    small = f'mount -t tmpfs -o size=300k none "{cache}" && exec "$@"'
    with bucket.serve(cache, wrap=["unshare", "-m", "sh", "-c", small, "sh"]) as server:
        server.wait_ready()
        bucket.put("m/2/model.onnx", times(3, kilobytes=400))
        message = server.wait_failing("disk")["message"]
        assert "No space left" in message and "larger disk" in message, message
        assert server.predict("m") == 4.0
        # A smaller one fits.
        bucket.put("m/2/model.onnx", times(3))
        server.wait_answer("m", 6.0)
