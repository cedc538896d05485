"""Rollouts with real models: which complete, which go back by themselves, and what people do to them."""

import time

import pytest

from fashion import STUDENT, TEACHER
from load import Load, send
from server import Refused

BACK = 'ocelli_traffic_events_total{{kind="automatic_rollback",model="{}"}}'


def refused(status: int, word: str, call, *args, **how):
    with pytest.raises(Refused) as refusal:
        call(*args, **how)
    assert refusal.value.status == status, refusal.value
    assert word in refusal.value.error, refusal.value


def test_a_worse_version_is_rolled_back_by_the_gate_of_accuracy(server, measured):
    model = server.put("worse", {1: TEACHER, 2: STUDENT})
    model.set(v1=100)
    gate = "accuracy>=-0.5pp"
    with Load(model, rows=8, tells=True) as load:
        began = time.monotonic()
        model.rollout(to=2, steps=[25, 50, 100], interval="1s", gates=[gate], min_samples=1000)
        state = model.wait_for_state("rolled_back", "done", seconds=40)
        took = time.monotonic() - began
    assert state["state"] == "rolled_back", state
    assert model.weights() == {1: 10_000}
    document = model.history()[-1]
    assert document["author"] == "rollout"
    assert document["reason"].startswith(
        f"rollout: back to version 1: {gate} is breached: accuracy "
    )
    assert state["reason"] == document["reason"]
    assert document["rollout"]["state"] == "rolled_back"
    [event] = [e for e in model.events() if e["kind"] == "automatic_rollback"]
    assert event["message"] == document["reason"] and event["revision"] == document["revision"]
    assert server.metrics()[BACK.format(model.name)] == 1
    measured(
        f"{took:.1f} s, step {state['step']}, {8 * len(load.sent)} images: {document['reason']}"
    )
    # And it stays so.
    sent = send(model, range(640))
    assert {s.version for s in sent} == {1}


def test_a_better_version_takes_all_steps(server, measured):
    model = server.put("better", {1: STUDENT, 2: TEACHER})
    model.set(v1=100)
    gates = ["accuracy>=-0.5pp", "error_rate<=0.5%", "p99<=2s"]
    steps = [5, 25, 50, 100]
    with Load(model, rows=8, tells=True) as load:
        began = time.monotonic()
        model.rollout(to=2, steps=steps, interval="1s", gates=gates, min_samples=30)
        state = model.wait_for_state("rolled_back", "done", seconds=60)
        took = time.monotonic() - began
    assert state["state"] == "done", state
    assert model.weights() == {2: 10_000}
    assert took >= len(steps), "each step takes its interval"
    rollout = [d for d in model.history() if d.get("rollout")]
    weights = [{a["version"]: a["weight"] for a in d["arms"]} for d in rollout]
    assert weights == [
        {1: 10_000, 2: 0},  # while it is being prepared
        {1: 9500, 2: 500},
        {1: 7500, 2: 2500},
        {1: 5000, 2: 5000},
        {2: 10_000},
        {2: 10_000},  # done
    ]
    assert all(s.ok for s in load.sent)
    assert BACK.format(model.name) not in server.metrics()
    measured(f"{took:.1f} s for {steps} %, {8 * len(load.sent)} images")


def test_without_samples_a_rollout_does_not_go_on_and_goes_back_at_its_timeout(server):
    model = server.put("idle", {1: STUDENT, 2: TEACHER})
    model.set(v1=100)
    model.rollout(
        to=2, steps=[50, 100], interval="200ms", timeout="1500ms", gates=["accuracy>=90%"]
    )
    state = model.wait_for_state("rolled_back", "done", seconds=10)
    assert state["state"] == "rolled_back"
    assert "the step's time is over" in state["reason"], state
    assert model.weights() == {1: 10_000}


@pytest.fixture
def steady(server, request):
    """A model whose rollout of version 2 over 1 stands at 10 % for an hour."""
    model = server.put(f"steady_{request.node.name}", {1: STUDENT, 2: TEACHER, 3: STUDENT})
    model.set(v1=100)
    model.rollout(to=2, steps=[10, 50, 100], interval="1h")
    model.wait_for_state("running")
    assert model.weights() == {1: 9000, 2: 1000}
    return model


def test_a_paused_rollout_stays_and_goes_on_when_it_is_resumed(server):
    model = server.put("paused", {1: STUDENT, 2: TEACHER})
    model.set(v1=100)
    model.rollout(to=2, steps=[10, 50, 100], interval="500ms")
    model.wait_for_state("running")
    state = model.admin("POST", "rollout/pause", {"author": "ada", "reason": "lunch"})
    assert (state["state"], state["reason"]) == ("paused", "lunch")
    step, weights = state["step"], model.weights()
    time.sleep(1.5)
    state = model.rollout_state()
    assert (state["state"], state["step"]) == ("paused", step)
    assert model.weights() == weights
    assert model.admin("POST", "rollout/resume")["state"] == "running"
    model.wait_for_state("done", seconds=10)
    assert model.weights() == {2: 10_000}
    refused(409, "no rollout", model.admin, "POST", "rollout/pause")


def test_promoting_takes_a_step_at_once_and_the_last_one_ends_it(steady):
    assert steady.admin("POST", "rollout/promote")["step"] == 1
    assert steady.weights() == {1: 5000, 2: 5000}
    assert steady.admin("POST", "rollout/promote")["step"] == 2
    assert steady.weights() == {2: 10_000}
    assert steady.admin("POST", "rollout/promote")["state"] == "done"
    assert steady.weights() == {2: 10_000}


def test_aborting_gives_all_to_the_baseline(steady):
    state = steady.admin("POST", "rollout/abort", {"author": "ada", "reason": "no good"})
    assert (state["state"], state["reason"]) == ("aborted", "no good")
    assert steady.weights() == {1: 10_000}
    refused(409, "no rollout", steady.admin, "POST", "rollout/resume")
    assert {s.version for s in send(steady, range(320))} == {1}


def test_a_second_rollout_is_refused_while_one_goes_on(steady):
    before = steady.history()
    refused(409, "goes on already", steady.rollout, to=3)
    assert steady.history() == before
    steady.admin("POST", "rollout/abort")
    assert steady.rollout(to=3, interval="1h")["to"] == 3


def test_setting_weights_is_refused_while_a_rollout_moves_them(steady):
    before = steady.history()
    refused(409, "a rollout of version 2", steady.set, v1=50, v2=50)
    refused(409, "a rollout of version 2", steady.admin, "PUT", "traffic", {"latest": True})
    refused(
        409, "a rollout", steady.admin, "POST", "bandit", {"min": 0, "max": 10000, "interval": "1s"}
    )
    assert steady.history() == before
    # What is no weight may be changed, and the rollout goes on.
    steady.admin("PUT", "traffic", {"sticky": {"by": "header", "name": "x-user"}})
    assert steady.rollout_state()["state"] == "running"
    assert steady.weights() == {1: 9000, 2: 1000}


def test_rolling_back_ends_a_rollout_and_goes_back_to_its_baseline(steady):
    steady.admin("POST", "rollout/promote")
    assert steady.weights() == {1: 5000, 2: 5000}
    steady.admin("POST", "traffic/rollback", {"author": "ada"})
    assert steady.weights() == {1: 10_000}
    assert steady.rollout_state()["state"] == "aborted"
    refused(409, "no rollout", steady.admin, "POST", "rollout/resume")


def test_nothing_to_roll_out_is_refused(server):
    model = server.put("nothing", {1: STUDENT, 2: TEACHER})
    refused(404, "", model.admin, "GET", "rollout")
    model.set(v1=100)
    refused(409, "no version 9", model.rollout, to=9)
    refused(400, "has the traffic already", model.rollout, to=1)
    refused(400, "rise", model.rollout, to=2, steps=[50, 10])
    refused(400, "speed", model.rollout, to=2, gates=["speed<=1x"])
    refused(400, "", model.rollout, to=2, interval="soon")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_in_the_middle_of_a_rollout_goes_on_with_it(own_server, end):
    server = own_server()
    model = server.put("m", {1: STUDENT, 2: TEACHER})
    model.set(v1=100)
    steps = [10, 40, 70, 100]
    id = model.rollout(to=2, steps=steps, interval="1s")["id"]
    model.wait_for_state("running", step=1)
    before = model.history()
    assert (server.models / ".ocelli/traffic/m").is_dir()
    getattr(server, end)()
    server.start()
    model.wait_for(1, 2)
    state = model.rollout_state()
    assert (state["id"], state["state"]) == (id, "running")
    assert state["step"] >= 1
    # Nothing that was said is lost, and it does not begin anew.
    assert model.history()[: len(before)] == before
    state = model.wait_for_state("done", "rolled_back", seconds=15)
    assert state["state"] == "done" and model.weights() == {2: 10_000}
    shares = [d["rollout"]["step"] for d in model.history() if d.get("rollout")]
    assert shares == sorted(shares), "no step is taken twice"


def test_a_paused_rollout_is_still_paused_after_a_restart(own_server):
    server = own_server()
    model = server.put("m", {1: STUDENT, 2: TEACHER})
    model.set(v1=100)
    model.rollout(to=2, steps=[10, 100], interval="500ms")
    model.wait_for_state("running")
    model.admin("POST", "rollout/pause")
    server.kill()
    server.start()
    model.wait_for(1, 2)
    time.sleep(1)
    assert model.rollout_state()["state"] == "paused"
    assert model.weights() == {1: 9000, 2: 1000}


def test_a_rollout_serves_every_request_while_steps_are_taken(server, measured):
    model = server.put("smooth", {1: STUDENT, 2: STUDENT})
    model.set(v1=100)
    with Load(model) as load:
        model.rollout(to=2, steps=[1, 5, 25, 50, 100], interval="300ms")
        model.wait_for_state("done", seconds=10)
        model.admin("POST", "traffic/rollback")
        time.sleep(0.2)
    assert all(s.ok for s in load.sent)
    assert model.weights() == {1: 10_000}
    measured(f"{len(load.sent)} requests, none failed")
