"""A bucket of models, while all goes well: what is fetched, and what it answers."""

import time

from models import times
from server import until

TOML = b"[batching]\nmax_batch = 2\n"
ALL = b"[versions]\nall = true\n"


def put_two(bucket):
    bucket.put("m/model.toml", TOML)
    bucket.put("m/1/model.onnx", times(2))
    bucket.put("n/1/model.onnx", times(5))


def test_models_come_and_answer_and_only_what_changed_is_fetched(bucket, cache):
    put_two(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
        assert (server.predict("m"), server.predict("n")) == (4.0, 10.0)
        assert sorted(bucket.fetched()) == ["m/1/model.onnx", "m/model.toml", "n/1/model.onnx"]
        size = len(TOML) + len(times(2)) + len(times(5))
        assert server.metric("ocelli_source_fetched_bytes_total") == size
        assert server.metric("ocelli_source_fetched_files_total") == 3
        # Looking again fetches nothing.
        looked = len(bucket.proxy.asked)
        until(lambda: len(bucket.proxy.asked) > looked + 4, "it does not look again")
        assert len(bucket.fetched()) == 3
        # A new version is one object, and takes the traffic.
        bucket.put("m/2/model.onnx", times(3))
        server.wait_answer("m", 6.0)
        assert bucket.fetched()[3:] == ["m/2/model.onnx"]
        # So is a changed file of all versions.
        bucket.put("m/model.toml", ALL)
        until(lambda: bucket.fetched()[4:] == ["m/model.toml"], f"not that alone: {bucket.fetched()}")
        server.wait_answer("m/versions/1", 4.0)
        # And a version whose bytes are others.
        bucket.put("n/1/model.onnx", times(7))
        server.wait_answer("n", 14.0)
        assert bucket.fetched()[5:] == ["n/1/model.onnx"]
        assert server.metric("ocelli_source_failures_total") == 0
        assert server.metric("ocelli_source_age_seconds") < 5
        told = server.source()
        assert (told["ok"], told["models"], told["url"], told["failing"]) == (True, 2, bucket.url, [])
        server.check_cache()
        assert len(list((cache / "objects").iterdir())) == 4, "what is in no model any more is gone"


def test_what_leaves_the_bucket_leaves_service(bucket, cache):
    put_two(bucket)
    bucket.put("m/2/model.onnx", times(3))
    with bucket.serve(cache) as server:
        server.wait_ready()
        assert server.predict("m") == 6.0
        bucket.delete("m/2/model.onnx")
        server.wait_answer("m", 4.0)
        bucket.delete("n/1/model.onnx")
        server.wait_answer("n", 404)
        assert server.predict("m") == 4.0


def test_a_version_that_stays_is_not_loaded_again_when_another_one_comes(bucket, cache):
    bucket.put("m/model.toml", ALL)
    bucket.put("m/1/model.onnx", times(2))
    with bucket.serve(cache) as server:
        server.wait_ready()
        bucket.put("m/2/model.onnx", times(3))
        server.wait_answer("m/versions/2", 6.0)
        assert server.loaded() == [("m", 1), ("m", 2)]


def test_a_bucket_that_lists_nothing_takes_nothing_away(bucket, cache):
    put_two(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
        bucket.delete("m/model.toml", "m/1/model.onnx", "n/1/model.onnx")
        assert bucket.url in server.wait_error("lists no model")
        assert (server.predict("m"), server.predict("n")) == (4.0, 10.0)
        assert server.metric('ocelli_source_failures_total{reason="empty"}') > 0


def test_keys_that_are_no_models_are_left_alone(bucket, cache):
    put_two(bucket)
    for key in ("README.md", "m/notes/a.md", ".git/1/model.onnx", "m/01/model.onnx", "m/1/", "m/2/"):
        bucket.put(key, b"" if key.endswith("/") else b"none")
    with bucket.serve(cache) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        assert len(bucket.fetched()) == 3
        assert server.source()["ok"]


def test_a_key_that_leads_elsewhere_stops_the_mirror_and_nothing_else(bucket, cache):
    put_two(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
        bucket.put("m/1/../../../../evil", b"evil")
        assert "m/1/../../../../evil" in server.wait_error("..")
        assert server.predict("m") == 4.0
        assert not list(cache.parent.rglob("evil"))
        bucket.delete("m/1/../../../../evil")
        bucket.put("m/2/model.onnx", times(3))
        server.wait_answer("m", 6.0)


def test_a_whole_bucket(bucket, cache):
    bucket.url = f"s3://{bucket.name}"
    bucket.client.put_object(Bucket=bucket.name, Key="m/1/model.onnx", Body=times(2))
    with bucket.serve(cache) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0


def test_the_newest_versions_are_enough_if_that_is_said(bucket, cache):
    bucket.put("m/model.toml", ALL)
    for version in (1, 2, 10):
        bucket.put(f"m/{version}/model.onnx", times(version))
    with bucket.serve(cache, "--source-versions", "2") as server:
        server.wait_ready()
        assert sorted(bucket.fetched()) == ["m/10/model.onnx", "m/2/model.onnx", "m/model.toml"]
        assert (server.predict("m/versions/2"), server.predict("m/versions/1")) == (4.0, 404)


def test_requests_are_answered_while_models_change(bucket, cache):
    put_two(bucket)
    with bucket.serve(cache) as server:
        server.wait_ready()
        for version in range(2, 6):
            bucket.put(f"m/{version}/model.onnx", times(version + 1))
            end = time.monotonic() + 20
            while (answer := server.predict("m")) != 2.0 * (version + 1):
                assert answer == 2.0 * version, answer
                assert time.monotonic() < end
