"""tensorflow-serving-api: Classify, Regress and MultiInference, which take tf.Example."""

import numpy as np
import pytest

from reference import LITE0_LABELS, PHOTOS, alike, near, pixels, ranking
from repository import LABELS, LITE0
from tfserving import classification_pb2, example, fill, inference_pb2, refuses, regression_pb2

ROWS = np.array([[1, 2, 2.5, 0.125, -4], [0, 0.5, 7, 3, 9]], np.float32)
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def classify(serving, name: str, examples: list, **spec):
    request = classification_pb2.ClassificationRequest()
    fill(request.model_spec, name, **spec)
    request.input.example_list.examples.extend(examples)
    return serving.prediction.Classify(request, timeout=30)


def regress(serving, name: str, examples: list, **spec):
    request = regression_pb2.RegressionRequest()
    fill(request.model_spec, name, **spec)
    request.input.example_list.examples.extend(examples)
    return serving.prediction.Regress(request, timeout=30)


def multi(serving, tasks: list[tuple[str, str]], examples: list):
    request = inference_pb2.MultiInferenceRequest()
    for name, method in tasks:
        fill(request.tasks.add(method_name=method).model_spec, name)
    request.input.example_list.examples.extend(examples)
    return serving.prediction.MultiInference(request, timeout=30)


def check_ranked(result: classification_pb2.ClassificationResult):
    for row, got in zip(ROWS, result.classifications, strict=True):
        best = ranking(row, 5)
        assert [c.label for c in got.classes] == [LABELS[i] for i in best]
        near([c.score for c in got.classes], row[best])


def test_classify(serving):
    answer = classify(serving, "ranked", [example(x=row.tolist()) for row in ROWS])
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("ranked", 1)
    check_ranked(answer.result)


def test_classify_encoded_photos(serving, reference):
    photos = [example(input=[photo.read_bytes()]) for photo in PHOTOS]
    answer = classify(serving, LITE0, photos)
    logits = reference.logits(np.concatenate([pixels(photo) for photo in PHOTOS]))
    for row, got in zip(logits, answer.result.classifications, strict=True):
        # model.toml: the five best, by softmax. Decoders differ by a grey level here and there.
        assert len(got.classes) == 5
        assert got.classes[0].label == LITE0_LABELS[row.argmax()]
        scores = [c.score for c in got.classes]
        assert scores == sorted(scores, reverse=True)
        assert 0 < sum(scores) <= 1.00001


def test_classify_pixels_gives_the_softmax(serving, reference):
    row = pixels(PHOTOS[0])
    answer = classify(serving, LITE0, [example(input=row.ravel().tolist())])
    logits = reference.logits(row)[0].astype(np.float64)
    softmax = np.exp(logits - logits.max())
    softmax /= softmax.sum()
    best = ranking(logits, 5)
    [got] = answer.result.classifications
    assert [c.label for c in got.classes] == [LITE0_LABELS[i] for i in best]
    alike([c.score for c in got.classes], softmax[best])


def test_regress(serving, reference):
    x = np.array([[0.5], [-3.0], [7.0]], np.float32)
    answer = regress(serving, "scalar", [example(x=row.tolist()) for row in x])
    assert answer.model_spec.name == "scalar"
    got = [[regression.value] for regression in answer.result.regressions]
    near(got, reference.run("scalar", x=x)["y"])


def test_context_is_part_of_every_example(serving):
    request = regression_pb2.RegressionRequest()
    fill(request.model_spec, "scalar")
    request.input.example_list_with_context.context.CopyFrom(example(x=[0.25]))
    request.input.example_list_with_context.examples.extend([example(), example()])
    answer = serving.prediction.Regress(request, timeout=30)
    near([regression.value for regression in answer.result.regressions], np.array([3.5, 3.5]))


def test_multi_inference(serving):
    answer = multi(serving, [("ranked", CLASSIFY)], [example(x=row.tolist()) for row in ROWS])
    [result] = answer.results
    assert result.model_spec.name == "ranked"
    check_ranked(result.classification_result)
    answer = multi(serving, [("scalar", REGRESS)], [example(x=[2.0])])
    [result] = answer.results
    near([r.value for r in result.regression_result.regressions], np.array([21]))


def test_refusals(serving):
    row = example(x=ROWS[0].tolist())
    with refuses("NOT_FOUND", "missing"):
        classify(serving, "missing", [row])
    with refuses("NOT_FOUND", "9"):
        regress(serving, "scalar", [example(x=[1.0])], version=9)
    with refuses("INVALID_ARGUMENT"):
        classify(serving, "ranked", [])
    with refuses("INVALID_ARGUMENT", "x"):
        classify(serving, "ranked", [example(other=[1.0])])
    with refuses("INVALID_ARGUMENT", "x"):
        classify(serving, "ranked", [example(x=[1.0, 2.0])])
    with refuses("INVALID_ARGUMENT"):
        classify(serving, LITE0, [example(input=[b"not a photo"])])
    # Four numbers a row are no regression.
    with refuses("INVALID_ARGUMENT"):
        regress(serving, "affine", [example(x=[1.0, 2.0, 3.0, 4.0])])


@pytest.mark.parametrize(
    "tasks, code",
    [
        ([], "INVALID_ARGUMENT"),
        ([("ranked", CLASSIFY), ("scalar", REGRESS)], "INVALID_ARGUMENT"),
        # As TensorFlow Serving's multi_inference.cc has it.
        ([("ranked", "tensorflow/serving/predict")], "UNIMPLEMENTED"),
    ],
    ids=["no task", "two models", "a method that takes no examples"],
)
def test_multi_inference_refusals(serving, tasks, code):
    with refuses(code):
        multi(serving, tasks, [example(x=ROWS[0].tolist())])
