"""Classes, their names and positions: one value or many, Python's numbers or numpy's; anything else is an error."""

import json
from enum import Enum

import numpy as np
import pytest

from maskserve.errors import InvalidParameter
from maskserve.pipeline import Pipeline

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
