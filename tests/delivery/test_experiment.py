"""What experiments say, and where bandits go."""

import time

import numpy as np
import pytest

import fashion
from fashion import STUDENT, TEACHER
from load import Load, send, tell
from server import Refused, until

STICKY = {"by": "header", "name": "x-user", "salt": "delivery"}
AT_A_TIME = 200
ROWS = 4


def split(model, sticky=None, **weights):
    """Sets the weights and looks at once, so that the figures begin now: see the test of what is counted.

    Each request has a user of its own. A split that is sticky by it is as random as any and the same in every
    run, so that verdicts, which may be wrong once in twenty times, are always the same ones here."""
    model.set(**weights)
    model.admin("PUT", "traffic", {"sticky": sticky})
    model.experiment()


def looks(model, **asked):
    """Sends all images bit by bit, with feedback, and looks at the experiment after each bit."""
    for at in range(0, fashion.COUNT, AT_A_TIME):
        tell(model, send(model, range(at, at + AT_A_TIME), rows=ROWS))
        yield at + AT_A_TIME, model.experiment(**asked)


def test_teacher_against_student_is_decided_for_the_teacher_and_stays_so(server, measured):
    model = server.put("versus", {1: TEACHER, 2: STUDENT})
    split(model, STICKY, v1=50, v2=50)
    first = None
    for n, told in looks(model, baseline=1):
        [comparison] = told["comparisons"]
        assert (comparison["baseline"], comparison["version"]) == (1, 2)
        assert sum(arm["samples"] for arm in told["arms"]) == n
        assert sum(arm["requests"] for arm in told["arms"]) == n / ROWS
        low, high = comparison["interval"]
        truth = fashion.ACCURACY[STUDENT] - fashion.ACCURACY[TEACHER]
        assert low < truth < high
        if comparison["verdict"] == "keep_going":
            # What was found is not taken back.
            assert first is None, comparison
        else:
            assert comparison["verdict"] == "worse"
            if first is None:
                first = n
                measured(f"first said after {n} samples: {comparison['words']}")
    assert first is not None
    assert told["metric"] == "accuracy"
    assert "version 2 is worse than version 1" in told["verdict"]
    assert comparison["p_value"] < 0.001
    measured(f"at the end: {told['verdict']}")
    # The other way round.
    [comparison] = model.experiment(baseline=2)["comparisons"]
    assert (comparison["version"], comparison["verdict"]) == (1, "better")


def test_the_same_model_twice_is_not_told_apart(server, measured):
    model = server.put("same", {1: STUDENT, 2: STUDENT})
    split(model, STICKY, v1=50, v2=50)
    for _, told in looks(model, baseline=1):
        [comparison] = told["comparisons"]
        assert comparison["verdict"] in ("keep_going", "no_difference"), comparison
    measured(told["verdict"])


@pytest.mark.parametrize("weights", [(50, 50), (99, 1)])
def test_requests_are_split_as_the_weights_say_and_the_test_of_that_agrees(
    server, weights, measured
):
    model = server.put(f"ratio{weights[1]}", {1: STUDENT, 2: STUDENT})
    split(model, v1=weights[0], v2=weights[1])
    send(model, rows=2, window=8)
    ratio = model.experiment()["sample_ratio"]
    assert ratio["requests"] == fashion.COUNT / 2
    assert ratio["ok"] and ratio["p_value"] > 0.001, ratio
    requests = [arm["requests"] for arm in model.experiment()["arms"]]
    measured(f"{requests} at {weights}: p = {ratio['p_value']:.2f}")


def test_without_feedback_an_experiment_compares_success(server):
    model = server.put("unfed", {1: STUDENT, 2: STUDENT})
    split(model, v1=50, v2=50)
    send(model, range(800), rows=ROWS)
    told = model.experiment()
    assert told["metric"] == "success"
    assert all(arm["mean"] == 1.0 for arm in told["arms"])


def test_changing_the_weights_does_not_begin_an_experiment_anew(server):
    model = server.put("moved", {1: STUDENT, 2: STUDENT})
    split(model, v1=50, v2=50)
    tell(model, send(model, range(400), rows=ROWS))
    split(model, v1=90, v2=10)
    tell(model, send(model, range(400, 800), rows=ROWS))
    told = model.experiment()
    assert sum(arm["samples"] for arm in told["arms"]) == 800
    # The split is held against the weights that hold, so only what they split counts.
    assert told["sample_ratio"]["requests"] == 400 / ROWS
    assert told["sample_ratio"]["ok"]


def test_what_arms_do_from_the_moment_that_their_weights_hold_is_counted(server):
    """`Figures::look` sets its marks when it is called next: what was answered until then, and the feedback about
    it, is in no window (or in the one of the weights before)."""
    for attempt in range(4):
        model = server.put(f"prompt{attempt}", {1: STUDENT, 2: STUDENT})
        model.set(v1=50, v2=50)
        tell(model, send(model, range(160), rows=ROWS))
        told = model.experiment()
        assert sum(arm["requests"] for arm in told["arms"]) == 160 / ROWS
        assert sum(arm["samples"] for arm in told["arms"]) == 160


def test_feedback_about_requests_that_name_their_version_does_not_count_in_comparisons(server):
    """docs/traffic.md: such requests "don't count in comparisons"."""
    model = server.put("pinned", {1: STUDENT, 2: STUDENT})
    split(model, v1=50, v2=50)
    tell(model, send(model, range(960), version=2), label=lambda image: 0)
    told = {arm["version"]: arm for arm in model.experiment(metric="accuracy")["arms"]}
    assert told[2]["requests"] == 0
    assert told[2]["samples"] == 0


def test_a_bandit_moves_the_weights_towards_the_better_version_within_its_bounds(server, measured):
    model = server.put("bandit", {1: STUDENT, 2: TEACHER})
    split(model, v1=50, v2=50)
    bandit = {"min": 1000, "max": 9000, "interval": "500ms", "metric": "accuracy"}
    model.admin("POST", "bandit", bandit)
    with Load(model, rows=8, tells=True) as load:
        until(lambda: model.weights()[2] == 9000, 20, model.weights)
    moves = [d["arms"] for d in model.history()[1:]]
    weights = np.array([[arm["weight"] for arm in arms] for arms in moves])
    assert (weights.sum(1) == 10_000).all()
    assert (weights >= 1000).all() and (weights <= 9000).all()
    moved = [e for e in model.events() if e["kind"] == "bandit"]
    assert any(e["author"] == "bandit" and "towards the better arm" in e["message"] for e in moved)
    measured(f"weights of the teacher {weights[:, 1]} over {8 * len(load.sent)} samples")
    # Nothing moves when it was ended.
    model.admin("DELETE", "bandit")
    revision = model.admin("GET", "traffic")["current"]["revision"]
    with Load(model, rows=8, tells=True):
        time.sleep(1.2)
    assert model.admin("GET", "traffic")["current"]["revision"] == revision


def test_a_bandit_whose_bounds_make_no_sense_is_refused(server):
    model = server.put("unbounded", {1: STUDENT, 2: STUDENT})
    with pytest.raises(Refused) as refused:
        model.admin("POST", "bandit", {"min": 500, "max": 9500, "interval": "1s"})
    assert "no arms yet" in refused.value.error
    split(model, v1=50, v2=50)
    for wrong in ({"min": 6000, "max": 9000}, {"min": 0, "max": 4000}):
        with pytest.raises(Refused) as refused:
            model.admin("POST", "bandit", {**wrong, "interval": "1s"})
        assert refused.value.status == 400
