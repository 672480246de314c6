"""Objects of a video keep their numbers from frame to frame."""

from __future__ import annotations

import numpy as np
from tests.client.drawing.scenes import filled, instances_of

from maskserve.drawing.following import Follower
from maskserve.instances import Instances

SIZE = (200, 600)


def frame(*lefts: int, classes: list[int] | None = None) -> Instances:
    return instances_of([filled(SIZE, x, 20, x + 80, 180) for x in lefts], SIZE, class_ids=classes)


def test_a_number_stays_with_its_object_whatever_the_scores() -> None:
    follower = Follower()
    assert follower.numbers(frame(0, 200, 400)) == [0, 1, 2]
    assert follower.numbers(frame(410, 15, 210)) == [2, 0, 1]
    assert follower.numbers(frame(230, 420, 30)) == [1, 2, 0]


def test_a_new_object_has_a_new_number() -> None:
    follower = Follower()
    follower.numbers(frame(0, 200))
    assert follower.numbers(frame(400, 0, 200)) == [2, 0, 1]


def test_another_class_is_another_object() -> None:
    follower = Follower()
    follower.numbers(frame(0, classes=[1]))
    assert follower.numbers(frame(0, classes=[2])) == [1]


def test_an_object_that_was_hidden_for_a_moment_is_known_again() -> None:
    follower = Follower()
    follower.numbers(frame(0, 300))
    for _ in range(5):
        assert follower.numbers(frame(0)) == [0]
    assert follower.numbers(frame(300, 0)) == [1, 0]
    for _ in range(20):
        follower.numbers(frame())
    assert follower.numbers(frame(300)) == [2]


def test_empty_boxes_match_nothing() -> None:
    follower = Follower()
    empty = instances_of([np.zeros(SIZE)], SIZE, boxes=[(5, 5, 5, 5)])
    assert [follower.numbers(empty), follower.numbers(empty), follower.numbers(frame())] == [[0], [1], []]
