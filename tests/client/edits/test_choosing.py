"""Instances that are left out, sorted or repeated in the dict of a result: all of its forms have those that it has."""

import copy
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.edits.choosing import EDITS, cut, zipped_sort
from tests.client.edits.forms import LABELS, SCORES, check, expected, full, make, pickled

from maskserve import InvalidParameter


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("touched", [False, True])
def test_boxes_and_masks_are_chosen(result, edit, touched):
    if touched:
        [mask.sum() for mask in result["masks"]]
    order = edit(result)
    check(result, expected(order))


@given(st.permutations(range(4)), st.integers(0, 4), st.booleans(), st.booleans())
def test_any_choice(order, count, touched, plain):
    result, order = make(), order[:count]
    if touched:
        list(result["masks"])
    masks = result["masks"]
    result["boxes"] = [result["boxes"][i] for i in order]
    result["masks"] = [masks[i] for i in order] if plain else masks[:0] + [masks[i] for i in order]
    assert [one.label for one in result.instances] == [LABELS[i] for i in order]
    assert [one.mask for one in result.instances] == [result._source.found.masks[i] for i in order]
    for one, other in zip(result.sort("score").instances, sorted(order, key=lambda i: -SCORES[i]), strict=True):
        assert one.mask == result._source.found.masks[other]


def pop(result, wanted, i, _):
    for sequence in (result["boxes"], result["masks"], wanted):
        sequence.pop(i)


def swap(result, wanted, i, j):
    for sequence in (result["boxes"], result["masks"], wanted):
        sequence[i], sequence[j] = sequence[j], sequence[i]


def again(result, wanted, i, _):
    result["boxes"].append(dict(result["boxes"][i]))
    result["masks"].append(result["masks"][i].copy())
    wanted.append([*wanted[i][:2], wanted[i][2].copy()])


def score(result, wanted, i, j):
    result["boxes"][i]["score"] = wanted[i][1] = j / 128


def look(result, wanted, i, _):
    assert result["masks"][i].sum() == wanted[i][2].sum()


def paint(result, wanted, i, j):
    x0, y0, x1, _ = (round(value) for value in result["boxes"][i]["coordinate"])
    result["masks"][i][:2] = wanted[i][2][y0 : y0 + 2, x0:x1] = j % 2


def replace(result, wanted, i, j):
    result["masks"][i] = result["masks"][i].astype(float)
    paint(result, wanted, i, j)


EDITS_AT = st.sampled_from([pop, swap, again, score, look, paint, replace, copy.deepcopy, pickled])


@given(st.lists(st.tuples(EDITS_AT, st.integers(0, 99), st.integers(0, 99)), max_size=12))
def test_any_sequence_of_edits(edits):
    """The dict against a plain list that is edited in the same way."""
    result = make()
    wanted = [[*one] for one in expected(range(4))]
    for edit, i, j in edits:
        if edit in (copy.deepcopy, pickled):
            result = edit(result)
        elif wanted:
            edit(result, wanted, i % len(wanted), j % len(wanted))
    got = [(one.label, round(one.score, 4), one.mask.decode()) for one in result.instances]
    assert [one[:2] for one in got] == [(label, round(value, 4)) for label, value, _ in wanted]
    for (_, _, pixels), (_, _, want) in zip(got, wanted, strict=True):
        assert np.array_equal(pixels, want)
    assert len(result.to_dict()["boxes"]) == len(result.to_dict()["masks"]) == len(wanted)


@pytest.mark.parametrize("indices", [2, np.int64(2), [-2], np.array([False, False, True, False]), range(2, 3)])
def test_one_position_many_or_a_mask_of_bools(result, indices):
    result["boxes"][2]["track"] = 9
    assert [box["track"] for box in result.take(indices)["boxes"]] == [9]
    with pytest.raises(InvalidParameter, match="there is no instance 4"):
        result.take(4)


def test_a_choice_has_boxes_and_masks_of_its_own(result):
    result["boxes"][0]["track"] = 1
    people = result.filter(labels=["person"])
    people["boxes"][0]["coordinate"][0] = 0
    people["boxes"][0]["label"] = "dog"
    people["masks"][0][:] = 0
    assert result["boxes"][0]["label"] == "person"
    assert result["boxes"][0]["coordinate"][0] == pytest.approx(3.2)
    assert result["masks"][0].any()


def test_equal_boxes_may_be_sorted_together():
    """Masks that look alike are still told apart, by their place in the list."""
    result = make()
    result["boxes"][0]["coordinate"] = list(result["boxes"][1]["coordinate"])
    result["masks"][0] = result["masks"][1].copy()
    zipped_sort(result)
    assert [one.label for one in result.instances] == ["bicycle", "person", "person", "car"]


def test_instances_may_be_set(result):
    result.instances = result.instances.take([3, 0])
    check(result, expected([3, 0]))


def test_masks_stay_compressed_until_they_are_looked_at(result):
    cut(result)
    full(result)
    result.draw()
    result = result.sort("label")
    copies = [copy.deepcopy(result), pickled(result), result.copy()]
    for one in (result, *copies):
        assert all(crop.pixels_held is None for crop in one["masks"].elements)
    assert result["masks"][0] is result["masks"][0]
    assert [crop.pixels_held is None for crop in result["masks"].elements] == [False, True]


def test_an_untouched_result_is_what_the_server_said(result):
    assert result.instances is result.instances is result._source.found
    list(result["masks"])
    assert result.instances is result._source.found
    assert result.filter(threshold=0.3)["boxes"] == [box for box in result["boxes"] if box["score"] > 0.3]


def test_edited_instances_are_made_once(result):
    cut(result)
    assert result.instances is result.instances


def test_masks_are_a_list():
    masks = make()["masks"]
    other = masks.copy()
    random.Random(1).shuffle(other)
    assert {mask.shape for mask in other} == {mask.shape for mask in masks}
    other[1:3] = [np.ones((2, 2), np.uint8)]
    assert len(other) == 3
    assert len([np.ones((1, 1))] + masks) == 5  # noqa: RUF005
    assert masks.pop().shape == (20, 20)
    masks.extend(other)
    assert len(masks) == 6
    assert repr(masks) == "<6 masks>"
    assert masks == list(masks)
    assert (masks == "text") is False


def test_boxes_and_masks_are_multiplied_like_lists(result):
    twice = copy.deepcopy(result)
    twice["boxes"], twice["masks"] = twice["boxes"] * 2, 2 * twice["masks"]
    check(twice, expected([*range(4)] * 2))
    thrice = copy.deepcopy(result)
    thrice["boxes"] *= 3
    thrice["masks"] *= 3
    check(thrice, expected([*range(4)] * 3))
