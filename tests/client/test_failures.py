"""What happens to an image, and to its neighbours, when something is wrong."""

import pytest
from PIL import Image
from tests.client.conftest import values

from maskserve import Failure
from maskserve.errors import (
    InferenceFailed,
    InputError,
    InvalidImage,
    ModelNotFound,
    ModelNotReady,
    RequestTimeout,
    ServerUnavailable,
)
from maskserve.pipeline import Pipeline


@pytest.fixture
def three(tmp_path, grey):
    """A good image, a damaged file, another good image."""
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


@pytest.mark.parametrize("form", ["path", "bytes"])
def test_a_failure_says_which_page_it_is(pipeline, transport, tmp_path, form):
    path = tmp_path / "scan.tif"
    pages = [Image.new("L", (8, 6), value) for value in (1, 2, 3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    find = transport.respond

    def respond(request):
        answer = find(request)
        if len(transport.requests) == 2:
            raise InferenceFailed("no memory")
        return answer

    transport.respond = respond
    one_by_one = Pipeline("tiny", transport, concurrency=1)
    source = str(path) if form == "path" else path.read_bytes()
    outcomes = list(one_by_one.predict(source, on_error="return"))
    assert [outcome.page_index for outcome in outcomes] == [0, 1, 2]
    assert isinstance(outcomes[1], Failure)
    assert outcomes[1].error.message == (f"{path}, page 1: no memory" if form == "path" else "no memory")


def test_a_failure_knows_its_page(pipeline, tmp_path, transport):
    pages = [Image.new("RGB", (8, 6), value) for value in ("white", "black")]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])

    def respond(_):
        raise InvalidImage("no")

    transport.respond = respond
    failures = list(pipeline.predict([str(tmp_path / "two.tif"), str(tmp_path / "gone.jpg")], on_error="return"))
    assert [(type(each), each.page_index) for each in failures] == [(Failure, 0), (Failure, 1), (Failure, None)]


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
