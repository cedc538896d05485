"""What is kept of predictions: the log, and the distance from what came before."""

import json
from datetime import datetime

import numpy as np
import pytest

import fashion
from fashion import STUDENT, TEACHER
from load import Sent, request, send
from server import FEEDBACK, until
from wire import ask_all

LABELS = (
    FEEDBACK
    + '[output]\nkind = "classification"\nlabels = "labels.txt"\ntop_k = 3\nsoftmax = true\n'
)


def read(directory) -> list:
    files = sorted(directory.glob("predictions-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def logged(own_server, tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    return own_server("--prediction-log", log, "--prediction-log-sample", "1"), log


def softmax(row):
    e = np.exp(row - row.max())
    return e / e.sum()


def test_every_prediction_is_a_line_with_its_id_and_its_best_classes(logged):
    server, log = logged
    plain = server.put("plain", {1: TEACHER, 2: STUDENT})
    plain.set(v1=50, v2=50)
    files = {"labels.txt": "\n".join(fashion.NAMES) + "\n"}
    named = server.put("named", {1: STUDENT}, LABELS, files)
    # One after the other: what the background has no room for is dropped, which is another test's.
    sent = send(plain, range(960), connections=1, window=1)
    sent += send(named, range(64), rows=1, connections=1, window=1)
    until(lambda: len(read(log)) >= len(sent), 10, lambda: f"{len(read(log))} of {len(sent)}")
    lines = {line["request_id"]: line for line in read(log)}
    assert lines.keys() == {s.id for s in sent}
    for one in sent:
        line = lines[one.id]
        name = one.id.split(".")[1]
        assert (line["model"], line["version"], line["status"]) == (name, one.version, "ok")
        datetime.fromisoformat(line["at"])
        timings = line["timings_us"]
        assert timings["compute"] > 0
        # More than a batch of 8 rows is computed in parts, side by side, whose times are summed.
        if len(one.images) <= 8:
            assert timings["total"] >= timings["queue"] + timings["compute"]
        assert len(line["top_k"]) == len(one.images)
        for row, ranked in zip(one.logits, line["top_k"]):
            k, scores = (3, softmax(row)) if name == "named" else (5, row)
            best = np.argsort(-row, kind="stable")[:k]
            assert [c["class"] for c in ranked] == best.tolist()
            np.testing.assert_allclose([c["score"] for c in ranked], scores[best], rtol=1e-4)
            if name == "named":
                assert [c["label"] for c in ranked] == [fashion.NAMES[c] for c in best]
    assert [line["top_k"][0][0]["class"] for line in (lines[s.id] for s in sent)] == [
        s.classes[0] for s in sent
    ]


def test_under_load_what_is_not_logged_is_counted(logged, measured):
    server, log = logged
    model = server.put("m", {1: STUDENT})
    sent = send(model, np.tile(np.arange(fashion.COUNT), 2), rows=4, window=8)

    def dropped():
        return server.metrics()['ocelli_prediction_log_total{outcome="dropped"}']

    def all_accounted():
        return len(read(log)) + dropped() == len(sent)

    until(
        all_accounted, 15, lambda: f"{len(read(log))} logged + {dropped()} dropped of {len(sent)}"
    )
    assert {line["request_id"] for line in read(log)} <= {s.id for s in sent}
    assert server.metrics()['ocelli_prediction_log_total{outcome="written"}'] == len(read(log))
    measured(f"{dropped():.0f} of {len(sent)} lines were dropped")


def test_drift_is_seen_when_the_images_are_inverted_and_gone_when_they_are_not(server, measured):
    toml = FEEDBACK + "[drift]\nreference = 1000\nwindow = 500\n"
    model = server.put("drift", {1: TEACHER}, toml)

    def watched(images) -> list[Sent]:
        requests = [request(model, images[at : at + 10]) for at in range(0, len(images), 10)]
        answers = ask_all(server.rest, requests, connections=1, window=1)
        assert all(a.status == 200 for a in answers)

    def drift():
        wanted = 'ocelli_drift{{measure="{}",model="drift",of="{}",version="1"}}'
        metrics = server.metrics()
        series = {
            (m, of): wanted.format(m, of)
            for m in ("psi", "kl", "noise")
            for of in ("mean", "std", "class")
        }
        return {key: metrics.get(name) for key, name in series.items()}

    def settled(high: bool):
        # What was sent is looked at later, by a thread that gives way, and told once a second.
        def is_so():
            psi = [drift()["psi", of] for of in ("mean", "std", "class")]
            return None not in psi and (psi[0] > 1.0 and psi[2] > 0.25 if high else max(psi) < 0.1)

        until(is_so, 10, drift)
        return drift()

    images = fashion.images()
    assert drift()["psi", "mean"] is None, "there is nothing to tell yet"
    watched(images[:1000])
    watched(images[1000:1500])
    calm = settled(high=False)
    watched(-images[1500:2000])
    inverted = settled(high=True)
    assert inverted["kl", "mean"] > 10 * calm["kl", "mean"], inverted
    assert calm["psi", "mean"] < 3 * calm["noise", "mean"], (
        "what is as before is about as noisy as chance"
    )
    watched(images[2000:2500])
    again = settled(high=False)
    for name, figures in (("calm", calm), ("inverted", inverted), ("calm again", again)):
        psi = {of: round(figures["psi", of], 3) for of in ("mean", "std", "class")}
        measured(f"{name}: psi {psi}, noise of mean {figures['noise', 'mean']:.3f}")
