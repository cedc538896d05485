"""Golden requests stand between a version and its first traffic."""

import json

import fashion
from fashion import STUDENT, TEACHER
from load import Load, send


def golden(image: int, **expect) -> str:
    data = fashion.images()[image].ravel().astype(float).tolist()
    return json.dumps(
        {"inputs": {"input": {"shape": [1, 1, 28, 28], "data": data}}, "expect": expect}
    )


def put(server, name: str, goldens: dict):
    extra = {f"2/golden/{file}.json": text for file, text in goldens.items()}
    for path in extra:
        assert path.startswith("2/golden/")
    model = server.put(name, {1: STUDENT, 2: TEACHER}, extra=extra)
    model.set(v1=100)
    return model


def test_a_version_that_disagrees_with_a_golden_request_gets_no_traffic(server):
    right, wrong = int(fashion.predicted(TEACHER)[0]), (int(fashion.predicted(TEACHER)[1]) + 1) % 10
    goldens = {"a": golden(0, **{"class": right}), "b": golden(1, **{"class": wrong})}
    model = put(server, "golden_wrong", goldens)
    with Load(model, rows=1) as load:
        model.rollout(to=2, steps=[50, 100], interval="200ms")
        state = model.wait_for_state("rolled_back", "done", "running")
    assert state["state"] == "rolled_back", state
    assert "golden request b.json: expected" in state["reason"], state
    assert {s.version for s in load.sent} == {1}
    assert {s.version for s in send(model, range(640))} == {1}
    assert all(d["rollout"]["state"] != "running" for d in model.history() if d.get("rollout"))
    assert model.events()[0]["kind"] == "automatic_rollback"


def test_a_version_that_agrees_with_its_golden_requests_gets_traffic(server):
    classes = fashion.predicted(TEACHER)
    # The numbers too, as the version itself gives them.
    goldens = {str(i): golden(i, **{"class": int(classes[i])}) for i in range(5)}
    model = put(server, "golden_right", goldens)
    model.rollout(to=2, steps=[50, 100], interval="200ms")
    state = model.wait_for_state("rolled_back", "done")
    assert state["state"] == "done", state
    assert {s.version for s in send(model, range(640))} == {2}


def test_golden_numbers_are_compared_within_their_tolerance(server):
    reference = server.put("golden_source", {1: TEACHER})
    [sent] = send(reference, [0])
    logits = sent.logits[0].astype(float)

    def outputs(numbers, tolerance):
        numbers = {"shape": [1, 10], "data": numbers.tolist()}
        return golden(0, outputs={"logits": numbers}, tolerance=tolerance)

    near = put(server, "golden_near", {"n": outputs(logits + 0.005, 0.01)})
    near.rollout(to=2, steps=[100], interval="1h")
    assert near.wait_for_state("rolled_back", "running")["state"] == "running"
    far = put(server, "golden_far", {"n": outputs(logits + 0.05, 1e-4)})
    far.rollout(to=2, steps=[100], interval="1h")
    state = far.wait_for_state("rolled_back", "running")
    assert state["state"] == "rolled_back" and "within 0.0001" in state["reason"], state


def test_a_golden_file_that_can_not_be_read_is_no_pass(server):
    model = put(server, "golden_broken", {"x": "{"})
    model.rollout(to=2, steps=[100], interval="1h")
    state = model.wait_for_state("rolled_back", "running")
    assert state["state"] == "rolled_back" and "x.json" in state["reason"], state
    assert model.weights() == {1: 10_000}
