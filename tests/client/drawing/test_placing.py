"""Where labels go: inside the image, on no other label, on their own object where they fit."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.drawing.scenes import Size, blobs, filled, instances_of

from maskserve.drawing.placing import Plate, place_labels

TEXTS = [(72, 20), (40, 20)]


def rectangles(plates: list[Plate], sizes: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    return [(plate.x, plate.y, plate.x + sizes[plate.choice][0], plate.y + sizes[plate.choice][1]) for plate in plates]


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [(480, 640), (640, 480), (1080, 1920), (97, 131), (48, 48), (30, 800)])
def test_labels_are_inside_the_image_and_never_on_each_other(seed: int, size: Size) -> None:
    rng = np.random.default_rng(seed)
    found = blobs(rng, int(rng.integers(1, 40)), size)
    plates = place_labels(found, [TEXTS] * len(found))
    placed = rectangles(plates, TEXTS)
    assert all(x0 >= 0 and y0 >= 0 and x1 <= size[1] and y1 <= size[0] for x0, y0, x1, y1 in placed)
    assert not [1 for at, one in enumerate(placed) for other in placed[:at] if overlap(one, other)]
    assert len({plate.position for plate in plates}) == len(plates)


def test_a_label_is_on_its_own_object_where_it_fits() -> None:
    size = (480, 640)
    masks = [filled(size, 20, 20, 300, 460), filled(size, 330, 20, 620, 200), filled(size, 330, 240, 620, 460)]
    plates = place_labels(instances_of(masks, size), [TEXTS] * 3)
    assert [plate.position for plate in plates] == [0, 1, 2]
    for plate, (x0, y0, x1, y1) in zip(plates, rectangles(plates, TEXTS), strict=True):
        assert masks[plate.position][y0:y1, x0:x1].all()
        assert (plate.choice, plate.towards) == (0, None)


def test_a_label_keeps_off_an_object_that_lies_on_its_own() -> None:
    size = (480, 640)
    large, small = filled(size, 0, 0, 640, 480), filled(size, 220, 140, 420, 340)  # in the middle of the large one
    plates = place_labels(instances_of([large, small], size), [TEXTS] * 2)
    (x0, y0, x1, y1), on_small = rectangles(plates, TEXTS)
    assert not small[y0:y1, x0:x1].any()
    assert small[on_small[1] : on_small[3], on_small[0] : on_small[2]].all()


def test_a_label_touches_an_object_that_is_too_small_for_it_and_leaves_it_in_sight() -> None:
    size = (480, 640)
    small = filled(size, 300, 200, 330, 230)
    (plate,) = place_labels(instances_of([small], size), [TEXTS])
    ((x0, y0, x1, y1),) = rectangles([plate], TEXTS)
    assert not small[y0:y1, x0:x1].any()
    assert small[max(y0 - 7, 0) : y1 + 7, max(x0 - 7, 0) : x1 + 7].any()
    assert (y1 <= 200, plate.towards) == (True, None)  # above it


@pytest.mark.parametrize("corner", [(0, 0), (610, 0), (0, 450), (610, 450)])
def test_a_label_in_a_corner_moves_into_the_image(corner: tuple[int, int]) -> None:
    size, (x, y) = (480, 640), corner
    mask = filled(size, x, y, x + 30, y + 30)
    (plate,) = place_labels(instances_of([mask], size), [TEXTS])
    ((x0, y0, x1, y1),) = rectangles([plate], TEXTS)
    assert 0 <= x0 < x1 <= 640
    assert 0 <= y0 < y1 <= 480
    assert not mask[y0:y1, x0:x1].any()


def test_objects_side_by_side_all_have_a_label() -> None:
    size = (480, 640)
    masks = [filled(size, x, y, x + 24, y + 40) for x in range(100, 500, 40) for y in (100, 200, 300)]
    plates = place_labels(instances_of(masks, size), [TEXTS] * len(masks))
    assert sorted(plate.position for plate in plates) == list(range(len(masks)))


def test_a_crowd_has_lines_to_labels_further_away() -> None:
    size = (480, 640)
    masks = [filled(size, x, y, x + 9, y + 9) for x in range(280, 340, 10) for y in range(200, 240, 10)]
    plates = place_labels(instances_of(masks, size), [TEXTS] * len(masks))
    assert len(plates) >= 18
    leading = [plate for plate in plates if plate.towards]
    assert leading
    for plate in leading:
        x, y = plate.towards or (-1, -1)
        assert masks[plate.position][max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4].any()


def test_the_short_text_is_taken_where_the_long_one_has_no_room() -> None:
    size = (48, 48)
    (plate,) = place_labels(instances_of([filled(size, 10, 10, 48, 48)], size), [[(60, 11), (34, 11)]])
    assert plate.choice == 1
    assert place_labels(instances_of([filled(size, 10, 10, 48, 48)], size), [[(60, 11), (49, 11)]]) == []


@pytest.mark.parametrize("box", [(100.0, 100.0, 180.0, 160.0), (639.5, 479.5, 640.0, 480.0), (5.0, 5.0, 5.0, 5.0)])
def test_an_instance_without_pixels_is_labelled_at_its_box(box: tuple[float, ...]) -> None:
    size = (480, 640)
    found = instances_of([np.zeros(size)], size, boxes=[box])
    (plate,) = place_labels(found, [TEXTS])
    ((x0, y0, x1, y1),) = rectangles([plate], TEXTS)
    assert overlap((x0 - 7, y0 - 7, x1 + 7, y1 + 7), tuple(int(value) for value in box))


def test_an_instance_under_another_is_labelled_all_the_same() -> None:
    size = (480, 640)
    one = filled(size, 200, 200, 400, 400)
    plates = place_labels(instances_of([one, one.copy()], size), [TEXTS] * 2)
    assert sorted(plate.position for plate in plates) == [0, 1]


@pytest.mark.parametrize("size", [(192, 256), (256, 100), (130, 250)])  # a cell is a pixel
def test_labels_leave_most_of_every_object_in_sight(size: Size) -> None:
    """At most three tenths of what is seen of an object are under the labels of others, however many there are."""
    found = blobs(np.random.default_rng(7), 90, size)
    texts = [(29, 8), (16, 8)]
    owner, under = np.full(size, -1), np.full(size, -1)
    for position in sorted(range(len(found)), key=lambda position: -found.masks[position].area):
        owner[found.masks[position].decode() > 0] = position
    plates = place_labels(found, [texts] * len(found))
    for plate in plates:
        (wide, high), x, y = texts[plate.choice], plate.x, plate.y
        under[y : y + high, x : x + wide] = plate.position
    for position in range(len(found)):
        seen = owner == position
        hidden = seen & (under >= 0) & (under != position)
        assert hidden.sum() <= 0.3 * seen.sum() + 1
    assert len(plates) > 15


def test_a_crowded_image_keeps_its_lines_short_of_hiding_it() -> None:
    """Labels away from their objects end where labels cover a fifth of the image."""
    size = (240, 320)
    crowd = [filled(size, x, y, x + 7, y + 7) for x in range(100, 220, 10) for y in range(80, 160, 10)]
    plates = place_labels(instances_of(crowd, size), [TEXTS] * len(crowd))
    away = [plate for plate in plates if plate.towards is not None]
    assert len(plates) < len(crowd)
    assert away
    covered = sum(TEXTS[plate.choice][0] * TEXTS[plate.choice][1] for plate in plates)
    assert covered < 0.35 * size[0] * size[1]
