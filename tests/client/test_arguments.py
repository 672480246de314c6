"""One value or many, Python's numbers or numpy's, everywhere the same; anything else is an error that names it."""

import json
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter, MaskserveError
from maskserve.pipeline import Pipeline
from maskserve_tools.cli import main

FOUND = [(0, 0.9, (0.0, 0.0, 4.0, 4.0)), (2, 0.5, (0.0, 0.0, 2.0, 2.0)), (0, 0.3, (1.0, 1.0, 3.0, 3.0))]


@pytest.fixture
def result(result_of, grey, transport):
    """A person, a car and another person."""
    found = result_of(grey(), FOUND, (6, 8))
    transport.requests.clear()
    return found


PERSON = {
    "int": 0,
    "numpy int": np.int64(0),
    "unsigned": np.uint8(0),
    "array of no dimension": np.array(0),
    "list": [0],
    "tuple": (0,),
    "set": {0},
    "range": range(1),
    "array": np.array([0]),
    "array of int8": np.array([0], np.int8),
    "keys": {0: "person"}.keys(),
    "twice": [0, 0],
}
TWO = {
    "list": [0, 1],
    "array": np.array([0, 1]),
    "generator": lambda: iter([0, 1]),
    "set": {1, 0},
    "mixed": [np.uint8(1), 0],
}


@pytest.mark.parametrize("given", PERSON.values(), ids=PERSON)
def test_one_class(pipeline, transport, grey, result, given):
    list(pipeline.predict(grey(), class_ids=given))
    assert transport.requests[-1][1].class_ids == (0,)
    assert result.filter(class_ids=given).class_ids.tolist() == [0, 0]
    assert result.instances.filter(class_ids=given).scores.tolist() == pytest.approx([0.9, 0.3])


@pytest.mark.parametrize("given", TWO.values(), ids=TWO)
def test_several_classes(pipeline, transport, grey, result, given):
    make = given if callable(given) else lambda: given
    list(pipeline.predict(grey(), class_ids=make()))
    assert transport.requests[-1][1].class_ids == (0, 1)
    assert result.filter(class_ids=make()).class_ids.tolist() == [0, 0]
    assert result.filter(class_ids=[*make(), 2]).class_ids.tolist() == [0, 2, 0]


@pytest.mark.parametrize("given", [[], (), np.array([], int), set()])
def test_no_class(pipeline, transport, grey, result, given):
    list(pipeline.predict(grey(), class_ids=given))
    assert transport.requests[-1][1].class_ids == ()
    assert len(result.filter(class_ids=given).instances) == 0


NO_CLASS = {
    "float": 1.0,
    "list of floats": [1.0],
    "array of floats": np.array([1.0]),
    "text": "0",
    "label": "person",
    "empty text": "",
    "bytes": b"\0",
    "bool": True,
    "numpy bool": np.True_,
    "mask": np.array([True, False]),
    "negative": -1,
    "numpy negative": np.array([-1]),
    "nested": [[0]],
    "matrix": np.zeros((2, 2), int),
    "None in a list": [None],
    "object": object(),
    "nan": float("nan"),
    "complex": 1j,
}


@pytest.mark.parametrize("given", NO_CLASS.values(), ids=NO_CLASS)
def test_what_is_no_class(pipeline, transport, grey, result, given):
    with pytest.raises(InvalidParameter, match="class"):
        list(pipeline.predict(grey(), class_ids=given))
    assert transport.requests == []
    with pytest.raises(InvalidParameter, match="class"):
        result.filter(class_ids=given)


class Name(str, Enum):
    PERSON = "person"


NAMES = {
    "text": "person",
    "numpy text": np.str_("person"),
    "array of no dimension": np.array("person"),
    "list": ["person"],
    "array": np.array(["person"]),
    "set": {"person"},
    "keys": {"person": 1}.keys(),
    "member of an enum": Name.PERSON,
    "members of an enum": [Name.PERSON],
}


@pytest.mark.parametrize("given", ["", "person"])
def test_text_is_named_as_a_whole(pipeline, grey, result, given):
    with pytest.raises(InvalidParameter, match=f"not {given!r}; class names go into labels="):
        list(pipeline.predict(grey(), class_ids=given))
    with pytest.raises(InvalidParameter, match=f"no instance {given!r}"):
        result.take(given)


@pytest.mark.parametrize("given", NAMES.values(), ids=NAMES)
def test_one_name(pipeline, transport, grey, result, given):
    list(pipeline.predict(grey(), labels=given))
    assert transport.requests[-1][1].class_ids == (0,)
    assert result.filter(labels=given).instances.labels == ("person", "person")


@pytest.mark.parametrize("given", [0, [0], None, b"person", [b"person"], [["person"]], 1.5, object(), [None]])
def test_what_is_no_name(pipeline, transport, grey, result, given):
    if given is None:  # is none at all
        assert len(result.filter(labels=None).instances) == 3
        return
    with pytest.raises(InvalidParameter, match=r"label|class name"):
        list(pipeline.predict(grey(), labels=given))
    assert transport.requests == []
    with pytest.raises(InvalidParameter, match=r"label|class name"):
        result.filter(labels=given)


def test_classes_that_share_a_name(transport, grey):
    names = ["person", "car", "person"]
    transport.model_config = lambda _: {"parameters": {"labels": {"string_value": json.dumps(names)}}}
    list(Pipeline("tiny", transport).predict(grey(), labels="person"))
    assert transport.requests[-1][1].class_ids == (0, 2)


SCORES = {
    "float": (0.5, 0.5),
    "zero": (0, 0.0),
    "one": (1, 1.0),
    "numpy": (np.float32(0.25), 0.25),
    "numpy half": (np.float16(0.25), 0.25),
    "numpy int": (np.int64(1), 1.0),
    "array of no dimension": (np.array(0.25), 0.25),
    "decimal": (Decimal("0.25"), 0.25),
    "fraction": (Fraction(1, 4), 0.25),
}
NO_SCORE = {
    "50": 50,
    "numpy 50": np.float32(50),
    "a little too much": 1.0001,
    "negative": -0.1,
    "text": "0.5",
    "numpy text": np.str_("0.5"),
    "array of text": np.array("0.5"),
    "bytes": b"0.5",
    "bool": True,
    "numpy bool": np.True_,
    "nan": float("nan"),
    "infinite": float("inf"),
    "huge": 10**400,
    "list": [0.5],
    "array": np.array([0.5]),
    "dict": {0: 0.5},
    "complex": 0.5j,
}


@pytest.mark.parametrize(("given", "score"), SCORES.values(), ids=SCORES)
def test_a_threshold(transport, grey, result, given, score):
    list(Pipeline("tiny", transport).predict(grey(), threshold=given))
    assert transport.requests[-1][1].threshold == score
    expected = [value for value in (0.9, 0.5, 0.3) if value > score]
    assert result.filter(threshold=given).scores.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("given", NO_SCORE.values(), ids=NO_SCORE)
def test_what_is_no_threshold(pipeline, transport, grey, result, given):
    words = r"threshold=.* is not a number between 0 and 1"
    with pytest.raises(InvalidParameter, match=words):
        list(pipeline.predict(grey(), threshold=given))
    assert transport.requests == []
    with pytest.raises(InvalidParameter, match=words):
        result.filter(threshold=given)
    with pytest.raises(InvalidParameter, match=words):
        create_pipeline("m", url="http://box", threshold=given)
    module = {"model": "m", "threshold": given}
    with pytest.raises(InvalidParameter, match=words):
        create_pipeline(config={"Pipeline": module}, url="http://box")
    submodule = {"InstanceSegmentation": {"model_name": "m", "threshold": given}}
    with pytest.raises(InvalidParameter, match=words):
        create_pipeline(config={"SubModules": submodule}, url="http://box")


@pytest.mark.parametrize("given", ["5", "-0.1", "nan", "inf", "high", "1e9", ""])
@pytest.mark.parametrize(
    "command",
    [
        ("predict", "--pipeline", "m", "--url", "http://127.0.0.1:9", "--input", "a.jpg"),
        ("batch", "photos", "--to", "out", "--url", "http://127.0.0.1:9"),
        ("verify", "m", "--source", "folder", "--photos", "photos"),
    ],
    ids=lambda command: command[0],
)
def test_what_is_no_threshold_at_a_shell(command, given, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, f"--threshold={given}"])
    assert caught.value.code == 2
    assert f"argument --threshold: {given!r} is not a number between 0 and 1" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--concurrency=0", "--concurrency=1.5", "--timeout=0", "--timeout=nan"])
def test_other_numbers_at_a_shell(option, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--pipeline", "m", "--input", "a.jpg", option])
    assert caught.value.code == 2
    assert option.partition("=")[2] in capsys.readouterr().err


NUMBERS = [4, np.int64(4), np.uint8(4), np.array(4)]


@pytest.mark.parametrize("given", NUMBERS)
def test_numbers_of_requests(transport, grey, given):
    list(Pipeline("tiny", transport).predict([grey()] * 2, batch_size=given))
    assert len(transport.requests) == 2
    pipeline = create_pipeline("m", url="http://box", concurrency=given, retries=given, timeout=given)
    assert pipeline._segmenter.concurrency == 4
    assert pipeline._segmenter.retries == 4
    config = {"Pipeline": {"model": "m", "batch_size": given}}
    assert create_pipeline(config=config, url="http://box", concurrency=1)._segmenter.concurrency == 4


BAD: dict[str, list[Any]] = {
    "batch_size": [0, 257, 1.5, True, "4", np.float64(4), np.array([4]), [4]],
    "concurrency": [0, -1, 1.5, True, "4", None, np.array([4])],
    "retries": [-1, 1.5, True, "2", None],
    "timeout": [0, -1, "5", None, True, float("nan"), [5]],
    "shared_memory": ["no", 0, 1, []],
    "headers": ["x", 5, ["x"], {"x": 5}, {"x": None}, {5: "x"}, {"x y": "z"}, {"x": "a\r\nb"}, {"x": "ü"}, {"": "x"}],
    "url": ["", 5, b"http://box", ["http://box"]],
    "device": ["", 0, ["cpu"]],
    "generation": ["", None, 3.0, ["3.x"]],
    "ca_file": ["", 5],
}


@pytest.mark.parametrize(("name", "given"), [(name, given) for name, values in BAD.items() for given in values])
def test_arguments_without_sense_are_named(transport, grey, name, given):
    arguments = {"url": "https://box", name: given}
    if name in ("batch_size", "headers"):
        with pytest.raises(InvalidParameter, match=name):
            list(Pipeline("tiny", transport).predict(grey(), **{name: given}))
        assert transport.requests == []
    if name != "batch_size":
        with pytest.raises(InvalidParameter) as caught:
            create_pipeline("m", **arguments)
        assert name in caught.value.message or repr(given) in caught.value.message


def test_a_time_without_limit_is_a_long_one():
    transport: Any = create_pipeline("m", url="http://box", timeout=float("inf"))._segmenter.transport
    assert transport._endpoint.timeout == 1e6


def test_headers_are_taken_as_they_are_now(transport, grey):
    headers = {"X-Tenant": "a"}
    results = Pipeline("tiny", transport).predict((grey() for _ in range(3)), headers=headers)
    next(results)
    headers["X-Tenant"] = "b"
    list(results)
    assert [request.headers for _, request in transport.requests] == [{"X-Tenant": "a"}] * 3


POSITIONS = {
    "one": (1, [0.5]),
    "numpy": (np.int64(1), [0.5]),
    "list": ([2, 0], [0.3, 0.9]),
    "array": (np.array([2, 0]), [0.3, 0.9]),
    "generator": (lambda: iter((2, 0)), [0.3, 0.9]),
    "argsort": (lambda: np.argsort([3, 1, 2]), [0.5, 0.3, 0.9]),
    "from the end": ([-1], [0.3]),
    "none": ([], []),
    "mask": (np.array([True, False, True]), [0.9, 0.3]),
    "mask of Python": ([True, False, True], [0.9, 0.3]),
}


@pytest.mark.parametrize(("given", "scores"), POSITIONS.values(), ids=POSITIONS)
def test_positions(result, given, scores):
    make = given if callable(given) else lambda: given
    taken = result.instances.take(make())
    assert taken.scores.tolist() == pytest.approx(scores)
    assert [one.mask for one in taken] == [result.instances.masks[k] for k in _order(result, scores)]
    if np.ndim(given) or callable(given):
        assert result.instances[make()].scores.tolist() == pytest.approx(scores)


def _order(result, scores):
    return [np.flatnonzero(np.isclose(result.scores, score))[0] for score in scores]


@pytest.mark.parametrize(
    "given", [3, -4, [3], 1.0, [1.0], "1", b"1", [True], [True, False, True, True], [True, 0], None]
)
def test_what_is_no_position(result, given):
    with pytest.raises(InvalidParameter, match=r"instance|mask|indices"):
        result.instances.take(given)


def test_one_instance_by_a_number_of_numpy(result):
    assert result.instances[np.int64(1)].label == "car"
    assert result.instances[np.array(1)].label == "car"
    with pytest.raises(IndexError):
        result.instances[3]
    with pytest.raises(TypeError):
        result.instances[1.0]


@pytest.mark.parametrize(("given", "left"), [(5, 1), (np.int64(5), 1), (4.5, 1), (0, 3), (np.float32(2), 3)])
def test_a_smallest_area(result, given, left):
    assert len(result.filter(min_area=given).instances) == left


@pytest.mark.parametrize("given", ["9", None, True, [9], float("nan")])
def test_what_is_no_area(result, given):
    with pytest.raises(MaskserveError, match="min_area"):
        result.filter(min_area=given)
