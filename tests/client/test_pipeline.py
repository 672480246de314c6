import itertools
import json
import threading
import types

import numpy as np
import pytest

from maskserve import Failure, create_pipeline
from maskserve._failures import ServedModel
from maskserve._transport import parse_url
from maskserve.errors import (
    InferenceFailed,
    InputError,
    InvalidImage,
    InvalidParameter,
    ModelNotFound,
    ModelNotReady,
    RequestTimeout,
    ServerUnavailable,
)
from maskserve.pipeline import Pipeline


def values(results):
    return [round(float(result.scores[0]) * 255) for result in results]


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
        if found[1].data == bytes(4):  # the first picture's score is 0: its answer comes after others'
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
        if found[1].data == bytes(4):  # the first picture waits until five others have been asked for
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


@pytest.fixture
def three(tmp_path, grey):
    """A good picture, a damaged file, another good picture."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"text")
    return [grey(1), bad, grey(3)], str(bad)


def test_a_bad_picture_raises_in_its_turn(pipeline, three):
    source, path = three
    results = pipeline.predict(source)
    assert values([next(results)]) == [1]
    with pytest.raises(InvalidImage) as caught:
        next(results)
    assert caught.value.message == f"{path}: not an image"


def test_a_bad_picture_may_be_skipped(pipeline, three):
    assert values(pipeline.predict(three[0], on_error="skip")) == [1, 3]


def test_a_bad_picture_may_be_returned(pipeline, three):
    source, path = three
    first, failure, last = pipeline.predict(source, on_error="return")
    assert values([first, last]) == [1, 3]
    assert isinstance(failure, Failure)
    assert failure.input_path == path
    assert isinstance(failure.error, InvalidImage)


def test_a_path_is_not_named_twice(pipeline):
    (failure,) = pipeline.predict("nowhere.jpg", on_error="return")
    assert failure.error.message == "no such file or directory: 'nowhere.jpg'"


@pytest.mark.parametrize("error", [RequestTimeout("late"), InferenceFailed("failed"), InputError("bad")])
def test_what_may_be_the_pictures_fault_can_be_skipped(pipeline, transport, grey, error):
    def respond(_):
        raise error

    transport.respond = respond
    assert list(pipeline.predict([grey(), grey()], on_error="skip")) == []


@pytest.mark.parametrize("on_error", ["raise", "skip", "return"])
@pytest.mark.parametrize("error", [ServerUnavailable("gone"), ModelNotFound("none")])
def test_trouble_with_the_server_is_never_skipped(pipeline, transport, grey, error, on_error):
    def respond(_):
        raise error

    transport.respond = respond
    with pytest.raises(type(error)):
        list(pipeline.predict([grey(), grey()], on_error=on_error))


def test_an_answer_out_of_contract(pipeline, transport, grey):
    transport.respond = lambda _: []
    with pytest.raises(InferenceFailed, match="does not keep the contract"):
        list(pipeline.predict(grey()))


@pytest.mark.parametrize(
    "config",
    [{}, {"parameters": {}}, {"parameters": {"labels": {"string_value": "person"}}}, {"parameters": {"labels": "[]"}}],
)
def test_a_model_that_does_not_know_its_classes(pipeline, transport, grey, config):
    transport.model_config = lambda _: config
    with pytest.raises(InferenceFailed, match="does not say what its classes are called"):
        list(pipeline.predict(grey()))


SERVED = {
    "the only one": (["demo", "demo.core", "demo.preprocess"], "demo"),
    "the default of PaddleX": (["other", "Mask-RT-DETR-S", "Mask-RT-DETR-S.core"], "Mask-RT-DETR-S"),
}


@pytest.mark.parametrize(("names", "expected"), SERVED.values(), ids=SERVED)
def test_the_pipeline_of_paddlex_is_the_servers_model(transport, grey, names, expected):
    transport.served = [ServedModel(name, "READY") for name in names]
    pipeline = Pipeline("instance_segmentation", transport)
    list(pipeline.predict([grey(), grey()]))
    assert {model for model, _ in transport.requests} == {expected}
    assert pipeline.model == expected


@pytest.mark.parametrize(("names", "message"), [([], "has none"), (["a", "b"], "it has a, b; name one")])
def test_the_pipeline_of_paddlex_may_be_undecided(transport, grey, names, message):
    transport.served = [ServedModel(name, "READY") for name in names]
    with pytest.raises(ModelNotFound, match=message):
        list(Pipeline("instance_segmentation", transport).predict(grey()))


def test_a_pipeline_closes_its_transport(pipeline, transport):
    with pipeline:
        assert not transport.closed
    assert transport.closed


def test_the_server_comes_from_the_argument_or_the_environment(monkeypatch):
    assert create_pipeline("m").url == "grpc://localhost:8001"
    monkeypatch.setenv("MASKSERVE_URL", "http://box")
    assert create_pipeline("m").url == "http://box:8000"
    assert create_pipeline("m", url="grpc://other:1").url == "grpc://other:1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pipeline": ""}, "is not the name of a model"),
        ({"pipeline": None}, "not the name of a model"),
        ({"pipeline": "m", "timeout": 0}, "timeout=0"),
        ({"pipeline": "m", "concurrency": 0}, "concurrency=0"),
        ({"pipeline": "m", "retries": -1}, "retries=-1"),
        ({"pipeline": "m", "generation": "4"}, "no generation '4'"),
        ({"pipeline": "m", "threshold": "x"}, "threshold='x'"),
        ({"pipeline": "m", "url": "localhost:8001"}, "write it like grpc://localhost:8001"),
        ({"pipeline": "m", "url": "ftp://box"}, "write it like"),
        ({"pipeline": "m", "url": "grpc://box:99999"}, "write it like"),
        ({"pipeline": "m", "url": "grpc://box/path"}, "has a path"),
        ({"pipeline": "m", "url": "http://user:word@box"}, "write it like"),
    ],
)
def test_a_pipeline_that_cannot_be(arguments, message):
    with pytest.raises(InvalidParameter, match=message):
        create_pipeline(**arguments)


def test_urls():
    assert parse_url("https://box/models/").url == "https://box:443/models"
    assert parse_url("grpcs://[::1]").url == "grpcs://[::1]:8001"
    assert json.dumps(parse_url("http://BOX").host) == '"box"'


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr("maskserve._segmenter._FIRST_PAUSE", 0.0)


@pytest.mark.parametrize("error", [ServerUnavailable("restarting"), ModelNotReady("queue full")])
def test_a_moment_of_trouble_is_sat_out(transport, grey, no_pause, error):
    troubles = [error, error]

    def respond(request):
        if troubles:
            raise troubles.pop()
        return transport.find(request)

    transport.respond = respond
    assert values(Pipeline("tiny", transport).predict(grey(3))) == [3]
    assert len(transport.requests) == 3


def failing_with(error):
    def respond(_):
        raise error

    return respond


@pytest.mark.parametrize(
    ("error", "requests"), [(ServerUnavailable("gone"), 3), (RequestTimeout("late"), 1), (InvalidImage("bad"), 1)]
)
def test_repetitions_are_bounded_and_only_where_they_are_safe(transport, grey, no_pause, error, requests):
    transport.respond = failing_with(error)
    with pytest.raises(type(error)):
        list(Pipeline("tiny", transport, retries=2).predict(grey()))
    assert len(transport.requests) == requests


def test_a_closed_pipeline_repeats_nothing(transport, grey):
    pipeline = Pipeline("tiny", transport, retries=5)

    def respond(_):
        pipeline.close()
        raise ServerUnavailable("closed")

    transport.respond = respond
    with pytest.raises(ServerUnavailable):
        list(pipeline.predict(grey()))
    assert len(transport.requests) == 1
