"""Live accuracy is the offline accuracy of the images that each version answered."""

import json
from collections import defaultdict

import numpy as np
import pytest

import fashion
from fashion import MID, STUDENT, TEACHER
from load import send, tell
from server import FEEDBACK, until
from wire import ask_all, post

ARMS = {1: TEACHER, 2: MID, 3: STUDENT}


def by_version(sent) -> dict:
    images = defaultdict(list)
    for one in sent:
        images[one.version] += list(one.images)
    return images


def outcomes(answers) -> list:
    return [(a.status, a.json().get("accepted")) for a in answers]


@pytest.fixture(scope="module")
def arms(server):
    """Three arms that got all images, and feedback for each row."""
    model = server.put("arms", ARMS)
    model.set(v1=50, v2=30, v3=20)
    sent = send(model, rows=8)
    assert all(s.ok for s in sent)
    told = tell(model, sent)
    assert outcomes(told) == [(200, True)] * fashion.COUNT
    return model, sent


def test_live_accuracy_of_each_arm_is_exactly_the_offline_figure_of_its_images(arms, measured):
    model, sent = arms
    images = by_version(sent)
    assert sorted(images) == [1, 2, 3]
    assert sum(len(of) for of in images.values()) == fashion.COUNT
    live = model.feedback()
    for version, name in ARMS.items():
        n, right = len(images[version]), fashion.correct(name, images[version])
        told = live[version]
        assert (told["n"], told["judged"], told["correct"]) == (n, n, right)
        assert told["accuracy"] == right / n
        measured(f"{name}: {right} of {n} right, {right / n:.4f}")


def test_every_class_in_an_id_is_the_best_of_its_row_and_what_onnxruntime_predicts(arms):
    _, sent = arms
    for one in sent:
        assert one.classes == list(one.logits.argmax(1))
        assert one.classes == list(fashion.predicted(ARMS[one.version])[one.images])


def test_arms_get_their_shares_of_the_requests(arms, measured):
    _, sent = arms
    counts = np.bincount([s.version for s in sent], minlength=4)[1:]
    measured(f"{counts} of {len(sent)} requests at 50/30/20 %")
    expected = np.array([0.5, 0.3, 0.2]) * len(sent)
    # Four standard deviations.
    assert (abs(counts - expected) < 4 * np.sqrt(expected)).all(), counts


def test_metrics_tell_accuracy_and_count_feedback(server, arms):
    model, sent = arms
    images = by_version(sent)
    for version, name in ARMS.items():
        n, right = len(images[version]), fashion.correct(name, images[version])
        labels = f'model="{model.name}",outcome="{{}}",version="{version}"'
        metrics = server.metrics()
        assert metrics[f"ocelli_feedback_total{{{labels.format('correct')}}}"] == right
        assert metrics[f"ocelli_feedback_total{{{labels.format('wrong')}}}"] == n - right


def test_the_gauge_of_accuracy_follows_within_a_second_or_so(server, arms):
    model, sent = arms
    images = by_version(sent)

    def shown():
        metrics = server.metrics()
        series = 'ocelli_accuracy{{model="arms",version="{}",window="{}"}}'
        return all(
            metrics.get(series.format(version, window))
            == fashion.correct(name, images[version]) / len(images[version])
            for version, name in ARMS.items()
            for window in ("all", "5m", "1h")
        )

    until(shown, 3)


def test_precision_and_recall_by_class_are_those_of_a_confusion_matrix(arms):
    model, sent = arms
    for version, images in by_version(sent).items():
        labels, got = fashion.labels()[images], fashion.predicted(ARMS[version])[images]
        for told in model.feedback()[version]["classes"]:
            c = told["class"]
            hits = int(((labels == c) & (got == c)).sum())
            assert told["support"] == (labels == c).sum() and told["hits"] == hits
            assert told["recall"] == hits / (labels == c).sum()
            assert told["precision"] == hits / (got == c).sum()


def test_feedback_that_is_repeated_is_not_counted_again(server, arms):
    model, sent = arms
    before = model.feedback()
    again = tell(model, sent[:200])
    assert outcomes(again) == [(200, False)] * 1600
    assert model.feedback() == before
    duplicates = [
        v for k, v in server.metrics().items() if 'outcome="duplicate"' in k and '"arms"' in k
    ]
    assert sum(duplicates) == 1600


def say(model, **feedback):
    request = post(f"/v1/models/{model.name}:feedback", json.dumps(feedback).encode())
    return ask_all(model.server.rest, [request], connections=1)[0]


def test_an_id_that_was_changed_in_any_part_is_refused(arms):
    model, sent = arms
    id = sent[0].id
    before = model.feedback()
    unique, name, version, classes, checksum = id.split(".")
    other = "0" if unique[0] != "0" else "1"
    changed = [
        f"{other}{unique[1:]}.{name}.{version}.{classes}.{checksum}",
        f"{unique}.{name}.{int(version[0]) % 3 + 1}{version[1:]}.{classes}.{checksum}",
        f"{unique}.{name}.{version}.{(int(classes[0]) + 1) % 10}{classes[1:]}.{checksum}",
        f"{unique}.{name}.{version}.{classes}.{checksum[:-1]}{'0' if checksum[-1] != '0' else '1'}",
        id[:-1],
        id.upper() if id.upper() != id else id + "A",
        "",
    ]
    for wrong in changed:
        answer = say(model, request_id=wrong, label=1)
        assert answer.status == 400 and "request_id" in answer.json()["error"], (wrong, answer)
    assert model.feedback() == before


def test_an_id_of_another_model_a_row_too_many_and_a_contradiction_are_refused(server, arms):
    model, sent = arms
    other = server.put("alone_not", {1: STUDENT})
    assert say(other, request_id=sent[0].id, label=1).status == 400
    assert say(model, request_id=sent[0].id, row=8, label=1).status == 400
    wrong = (sent[0].classes[0] + 1) % 10
    answer = say(model, request_id=sent[0].id, label=wrong, correct=True)
    assert answer.status == 400, answer
    assert say(model, request_id=sent[0].id).status == 400


@pytest.mark.parametrize("name", [TEACHER, MID, STUDENT])
def test_each_model_alone_has_exactly_its_offline_accuracy(server, name, measured):
    model = server.put(name.removesuffix(".onnx"), {1: name})
    sent = send(model)
    assert all(s.ok for s in sent)
    told = tell(model, sent)
    assert outcomes(told) == [(200, True)] * fashion.COUNT
    total = model.feedback()[1]
    assert (total["judged"], total["accuracy"]) == (fashion.COUNT, fashion.ACCURACY[name])
    measured(f"{total['accuracy']}")


def test_feedback_may_give_the_name_of_a_label(server):
    toml = FEEDBACK + '[output]\nkind = "classification"\nlabels = "labels.txt"\n'
    labels = {"labels.txt": "\n".join(fashion.NAMES) + "\n"}
    model = server.put("named", {1: STUDENT}, toml, labels)
    sent = send(model, range(960))
    told = tell(model, sent, label=lambda image: fashion.NAMES[fashion.labels()[image]])
    assert outcomes(told) == [(200, True)] * 960
    assert model.feedback()[1]["correct"] == fashion.correct(STUDENT, range(960))
    answer = say(model, request_id=sent[0].id, row=0, label="hovercraft")
    assert answer.status == 400 and "hovercraft" in answer.json()["error"]


def test_without_classes_in_ids_a_label_is_refused_and_correct_is_taken(server):
    model = server.put("silent", {1: STUDENT}, "")
    [one] = send(model, [0])
    assert one.id.split(".")[3] == "-"
    assert say(model, request_id=one.id, label=1).status == 400
    assert say(model, request_id=one.id, correct=True).json() == {"accepted": True}
    assert model.feedback()[1]["accuracy"] == 1.0
