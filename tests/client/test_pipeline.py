"""Images in, results out: order, requests under way, arguments."""

import copy
import itertools
import pickle
import threading
import types

import numpy as np
import pytest
from tests.client.conftest import values

from maskserve.errors import (
    InvalidParameter,
)
from maskserve.pipeline import Pipeline


def test_one_picture(pipeline, transport, grey):
    (result,) = pipeline.predict(grey(255, 6, 8))
    assert result["input_path"] is None
    assert result["boxes"] == [{"cls_id": 2, "label": "car", "score": 1.0, "coordinate": [0, 0, 8, 6]}]
    assert [mask.tolist() for mask in result["masks"]] == [[[1, 1, 1, 1, 0, 0, 0, 0]] * 6]
    ((model, request),) = transport.requests
    assert (model, request.threshold, request.class_ids) == ("tiny", None, None)


def test_nothing_happens_before_the_iteration(pipeline, transport):
    results = pipeline.predict("nowhere.jpg", on_error="nonsense")
    assert isinstance(results, types.GeneratorType)
    results.close()
    assert transport.requests == []


def test_the_pipeline_may_be_called(pipeline, grey):
    assert values(pipeline(grey(7))) == [7]


def test_results_keep_the_order_of_the_input(pipeline, transport, grey):
    others, find = threading.Event(), transport.find

    def respond(request):
        found = find(request)
        if len(transport.requests) >= 3:
            others.set()
        if found[1].data == bytes(4):  # the first image's score is 0: its answer comes after others'
            assert others.wait(20)
        return found

    transport.respond = respond
    assert values(pipeline.predict([grey(n) for n in range(20)])) == list(range(20))


def test_no_more_than_the_allowed_requests_are_under_way(transport, grey):
    """And the source is not read to its end while nobody takes the results."""
    taken, running, most = 0, 0, 0
    lock, find = threading.Lock(), transport.find

    def source():
        nonlocal taken
        for n in range(100):
            taken += 1
            yield grey(n)

    def respond(request):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        found = find(request)
        with lock:
            running -= 1
        return found

    transport.respond = respond
    results = Pipeline("tiny", transport, concurrency=3).predict(source())
    assert values([next(results)]) == [0]
    assert taken <= 12
    assert values(results) == list(range(1, 100))
    assert 1 <= most <= 3


def test_a_slow_request_does_not_hold_up_the_others(transport, grey):
    others, find = threading.Event(), transport.find

    def respond(request):
        found = find(request)
        if len(transport.requests) == 6:
            others.set()
        if found[1].data == bytes(4):  # the first image waits until five others have been asked for
            assert others.wait(20)
        return found

    transport.respond = respond
    assert values(Pipeline("tiny", transport, concurrency=2).predict([grey(n) for n in range(8)])) == list(range(8))


def test_an_endless_source_is_taken_as_it_is_wanted(pipeline, grey):
    results = pipeline.predict(itertools.repeat(grey(1)))
    assert values([next(results), next(results)]) == [1, 1]
    results.close()


def test_a_source_that_breaks_breaks_after_its_results(pipeline, grey):
    def source():
        yield grey(1)
        yield grey(2)
        raise OSError("camera unplugged")

    results = pipeline.predict(source())
    assert values([next(results), next(results)]) == [1, 2]
    with pytest.raises(OSError, match="camera unplugged"):
        next(results)


@pytest.mark.parametrize("count", [0, 1])
def test_lists_of_no_or_one_picture(pipeline, grey, count):
    assert values(pipeline.predict([grey(9)] * count)) == [9] * count


def test_labels_are_asked_for_once(pipeline, transport, grey):
    list(pipeline.predict([grey()] * 5))
    list(pipeline.predict(grey()))
    assert transport.config_calls == 1
    assert pipeline.labels == ("person", "bicycle", "car")


ARGUMENTS = {
    "threshold": ({"threshold": 0.25}, (0.25, None)),
    "numpy threshold": ({"threshold": np.float32(0.25)}, (0.25, None)),
    "zero": ({"threshold": 0}, (0.0, None)),
    "classes": ({"class_ids": [2, np.int64(0)]}, (None, (0, 2))),
    "no class": ({"class_ids": []}, (None, ())),
    "names": ({"labels": ["car", "person"]}, (None, (0, 2))),
    "one name": ({"labels": "car"}, (None, (2,))),
    "both": ({"labels": ["car"], "class_ids": [1, 2]}, (None, (1, 2))),
}


@pytest.mark.parametrize(("arguments", "sent"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_reach_the_server(pipeline, transport, grey, arguments, sent):
    list(pipeline.predict(grey(), **arguments))
    ((_, request),) = transport.requests
    assert (request.threshold, request.class_ids) == sent


def test_the_threshold_of_the_call_beats_that_of_the_pipeline(transport, grey):
    pipeline = Pipeline("tiny", transport, threshold=0.7)
    list(pipeline.predict(grey()))
    list(pipeline.predict(grey(), threshold=0.2))
    assert [request.threshold for _, request in transport.requests] == [0.7, 0.2]


BAD_ARGUMENTS = {
    "threshold text": ({"threshold": "0.5"}, "threshold='0.5'"),
    "threshold dict": ({"threshold": {0: 0.5}}, "threshold="),
    "threshold nan": ({"threshold": float("nan")}, "threshold=nan"),
    "threshold bool": ({"threshold": True}, "threshold=True"),
    "class as text": ({"class_ids": ["car"]}, "class names go into labels="),
    "class as float": ({"class_ids": [1.0]}, "a class id is an integer"),
    "class below zero": ({"class_ids": [-1]}, "no class -1"),
    "unknown label": ({"labels": ["cat"]}, "no class 'cat'; did you mean 'car'"),
    "batch size": ({"batch_size": 0}, "batch_size=0"),
    "batch size text": ({"batch_size": "4"}, "batch_size='4'"),
    "on_error": ({"on_error": "ignore"}, "on_error='ignore'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_arguments_without_sense(pipeline, transport, grey, arguments, message):
    with pytest.raises(InvalidParameter, match=message):
        next(pipeline.predict(grey(), **arguments))
    assert transport.requests == []


def test_a_pipeline_closes_its_transport(pipeline, transport):
    with pipeline:
        assert not transport.closed
    assert transport.closed


def test_classes_without_a_label_are_called_by_their_numbers(pipeline, transport, grey):
    """As many names as the network has classes, so that each can be chosen and shown."""
    parameters = {"labels": {"string_value": '["person", "行人"]'}, "classes": {"string_value": "4"}}
    transport.model_config = lambda model: {"parameters": parameters}
    assert pipeline.labels == ("person", "行人", "2", "3")
    (result,) = pipeline.predict(grey(), labels=["2", "行人"])
    assert transport.requests[-1][1].class_ids == (1, 2)
    assert result["boxes"][0]["label"] == "2"


@pytest.mark.parametrize("classes", ["", "many", "-1", "1", "[]"])
def test_a_number_of_classes_that_is_none_leaves_the_labels(pipeline, transport, classes):
    parameters = {"labels": {"string_value": '["person", "car"]'}, "classes": {"string_value": classes}}
    transport.model_config = lambda model: {"parameters": parameters}
    assert pipeline.labels == ("person", "car")


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_pipeline_is_not_copied(pipeline, make):
    with pytest.raises(TypeError, match="make one in each process, with create_pipeline"):
        make(pipeline)
