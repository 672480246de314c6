"""Colours, opacity, parts, and what is refused."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.drawing.scenes import filled, instances_of

from maskserve.drawing.colours import contrast, ink_on
from maskserve.drawing.draw import chosen_look, draw
from maskserve.drawing.look import colour, look, unit
from maskserve.errors import InvalidParameter
from maskserve.instances import Instances
from maskserve.paddlex.generations import generation_named

SIZE = (400, 600)
MASKS = [filled(SIZE, 20, 20, 180, 380), filled(SIZE, 220, 20, 380, 380), filled(SIZE, 420, 20, 580, 380)]
FOUND = instances_of(MASKS, SIZE, ["person", "person", "car"], [0, 0, 2])
HABITS = generation_named("3.0b2")
PALETTE = [colour(code) for code in look()["palette"]]


def drawn(found: Instances = FOUND, value: int = 100, **options: Any) -> NDArray[np.uint8]:
    options.setdefault("show", "masks")
    canvas = np.full((*found.image_size, 3), value, np.uint8)
    return np.asarray(draw(canvas, found, chosen_look("maskserve", options), HABITS))


def fills(image: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    return [tuple(image[30, x].tolist()) for x in (30, 230, 430)]


def blend(paper: tuple[int, ...], opacity: float, value: int = 100) -> tuple[int, ...]:
    return tuple(round(value * (1 - opacity) + part * opacity) for part in paper)


def test_each_instance_has_its_own_colour() -> None:
    assert fills(drawn()) == [blend(code, 0.38) for code in PALETTE[:3]]


def test_instances_keep_their_colours_when_fewer_are_shown_or_in_another_order() -> None:
    whole = fills(drawn())
    assert fills(drawn(FOUND.take([1, 0])))[:2] == whole[:2]
    assert fills(drawn(FOUND.filter(threshold=0.5)))[:2] == whole[:2]


def test_by_class() -> None:
    one, two, other = fills(drawn(by="class"))
    assert one == two == blend(PALETTE[0], 0.38)
    assert other == blend(PALETTE[2], 0.38)


def test_ids_choose_the_colours() -> None:
    assert fills(drawn(ids=[7, 3, 30])) == [blend(PALETTE[at], 0.38) for at in (7, 3, 30 % len(PALETTE))]
    assert fills(drawn(ids=np.array([1, 1, 0]))) == [blend(PALETTE[at], 0.38) for at in (1, 1, 0)]
    assert fills(drawn(ids=[-1, 0, 1]))[0] == blend(PALETTE[-1], 0.38)


@pytest.mark.parametrize(
    ("colours", "wanted"),
    [
        ("red", [(255, 0, 0)] * 3),
        ("#0f0", [(0, 255, 0)] * 3),
        ((0, 0, 255), [(0, 0, 255)] * 3),
        (["red", "#00ff00"], [(255, 0, 0), (0, 255, 0), (255, 0, 0)]),
        ([(1, 2, 3), (4, 5, 6), (7, 8, 9)], [(1, 2, 3), (4, 5, 6), (7, 8, 9)]),
        (np.array([[1, 2, 3], [4, 5, 6]]), [(1, 2, 3), (4, 5, 6), (1, 2, 3)]),
        ({"car": "white"}, [*PALETTE[:2], (255, 255, 255)]),
        ({0: "black", np.int64(2): (9, 9, 9)}, [(0, 0, 0), (0, 0, 0), (9, 9, 9)]),
    ],
)
def test_colours_of_ones_own(colours: Any, wanted: list[tuple[int, ...]]) -> None:
    assert fills(drawn(colors=colours, opacity=1)) == wanted


@pytest.mark.parametrize("opacity", [0, 0.25, np.float32(0.5), 1])
def test_opacity_is_of_the_fill_alone(opacity: float) -> None:
    image = drawn(opacity=opacity)
    assert np.abs(np.array(fills(image)) - [blend(code, float(opacity)) for code in PALETTE[:3]]).max() <= 1
    assert tuple(image[200, 180]) == PALETTE[0]  # the line is outside the mask


def test_the_line_is_outside_the_mask_and_as_wide_as_the_look_says() -> None:
    image = drawn()
    row = image[200, 180:186].tolist()
    assert row[0] == list(PALETTE[0])
    assert row[1] == [round(100 + (part - 100) * 0.75) for part in PALETTE[0]]  # 1.75 in all
    assert row[2] == [100, 100, 100]


@pytest.mark.parametrize("count", range(4))
def test_every_choice_of_parts(count: int) -> None:
    plain = np.full((*SIZE, 3), 100, np.uint8)
    for show in combinations(("masks", "boxes", "labels"), count):
        image = drawn(show=show)
        assert (image[30, 30] != 100).any() == ("masks" in show)
        assert (image[20, 100] == PALETTE[0]).all() == ("boxes" in show)  # inside the mask's edge
        assert (image[190:210, 60:140] == look_ink()).all(axis=2).any() == ("labels" in show)
        assert np.array_equal(image, plain) == (not show)


def look_ink() -> tuple[int, ...]:
    return colour(look()["darkInk"])


def test_one_part_may_be_named_alone_and_any_iterable_is_taken() -> None:
    assert np.array_equal(drawn(show="masks"), drawn(show=iter(["masks", "masks"])))
    assert np.array_equal(drawn(show={"masks", "labels"}), drawn(show=("labels", "masks")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"show": "mask"}, "masks, boxes and labels"),
        ({"show": ["masks", "names"]}, "masks, boxes and labels"),
        ({"show": 3}, "masks, boxes and labels"),
        ({"show": None}, "masks, boxes and labels"),
        ({"show": [["masks"]]}, "masks, boxes and labels"),
        ({"by": "label"}, "by instance or by class"),
        ({"by": None}, "by instance or by class"),
        ({"opacity": 1.5}, "from 0 to 1"),
        ({"opacity": -0.1}, "from 0 to 1"),
        ({"opacity": float("nan")}, "from 0 to 1"),
        ({"opacity": True}, "from 0 to 1"),
        ({"opacity": "half"}, "from 0 to 1"),
        ({"colors": "reddish"}, "'reddish' is no colour"),
        ({"colors": ["red", "#12"]}, "'#12' is no colour"),
        ({"colors": (1, 2, 300)}, "is no colour"),
        ({"colors": [(1, 2)]}, "is no colour"),
        ({"colors": []}, "there is none"),
        ({"colors": 5}, "give a colour"),
        ({"colors": {"car": "reddish"}}, "'reddish' is no colour"),
        ({"colors": {1.5: "red"}}, "neither the name of a class"),
        ({"ids": [1, 2]}, "2 of them for 3 instances"),
        ({"ids": [1.0, 2.0, 3.0]}, "whole numbers"),
        ({"ids": [[1], [2, 3]]}, "whole numbers"),
        ({"ids": "abc"}, "whole numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        drawn(**options)


def test_an_option_that_is_not_known() -> None:
    with pytest.raises(TypeError, match="colour"):
        drawn(colour="red")


@pytest.mark.parametrize("options", [{"show": "masks"}, {"opacity": 0.5}, {"by": "instance"}, {"colors": "red"}])
def test_paddlex_takes_no_options(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match="leave out " + next(iter(options))):
        chosen_look("paddlex", options)


def test_the_ink_is_legible_on_every_colour() -> None:
    assert min(contrast(ink_on(code), code) for code in PALETTE) >= 4.5
    assert [ink_on((0, 0, 128)), ink_on((255, 255, 200))] == [(255, 255, 255), look_ink()]


def test_colours_differ() -> None:
    assert min(sum(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in combinations(PALETTE, 2)) > 40


def test_sizes_follow_the_image() -> None:
    assert unit(640, 480) == unit(1000, 700) == 1.0
    assert unit(4000, 3000) == 4.0
    assert unit(48, 48) == 0.56
    assert unit(240, 150) == pytest.approx(0.8)
