import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from maskserve import rle as _rle
from maskserve.masks import Mask, decode_crop, encode_crop

crops = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))


def reference(pixels):
    return coco.encode(np.asfortranarray(pixels, dtype=np.uint8))


@given(crops)
def test_counts_are_those_of_pycocotools(crop):
    assert encode_crop(crop) == reference(crop)["counts"]


@given(crops)
def test_a_crop_comes_back(crop):
    assert np.array_equal(decode_crop(encode_crop(crop), *crop.shape), crop)


@given(crops)
def test_type_and_memory_order_make_no_difference(crop):
    expected = encode_crop(crop)
    assert encode_crop(crop.astype(bool)) == expected
    assert encode_crop(np.asfortranarray(crop)) == expected
    assert encode_crop(crop * np.uint8(255)) == expected
    assert encode_crop(np.repeat(crop, 2, axis=0)[::2]) == expected


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_a_crop_without_pixels(shape):
    assert encode_crop(np.zeros(shape, np.uint8)) == b""
    assert decode_crop(b"", *shape).shape == shape


@given(crops)
def test_parsed_counts_are_the_runs(crop):
    runs = _rle.parse_counts(encode_crop(crop))
    assert np.array_equal(np.repeat(np.arange(runs.size) % 2, runs).reshape(crop.shape, order="F"), crop)
    assert _rle.format_counts(runs) == encode_crop(crop)
    assert _rle.area(_rle.edges(encode_crop(crop))) == crop.sum()


@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=40))
def test_counts_of_any_length_are_read_back(runs):
    """Of each number of groups: pycocotools takes no run that no image has."""
    assert _rle.parse_counts(_rle.format_counts(np.array(runs, np.int64))).tolist() == runs


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.floats(0.0, 1.0), st.booleans())
def test_pixels_of_long_and_short_runs_are_those_of_pycocotools(seed, height, share, stands_still):
    rng = np.random.default_rng(seed)
    crop = np.asfortranarray(rng.random((height, 3)) < share, np.uint8)
    ends = np.cumsum(_rle.parse_counts(reference(crop)["counts"]))
    if stands_still:  # a run in two parts, with a run of no pixels in between, is the same mask
        place = int(rng.integers(0, ends.size))
        cut = int(rng.integers(ends[place - 1] if place else 0, ends[place] + 1))
        ends = np.insert(ends, place, [cut, cut])
    assert (_rle.inside(ends) == crop.ravel(order="F")).all()


def test_no_runs_are_no_counts():
    assert _rle.format_counts(np.empty(0, np.int64)) == b""


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (b"", "0 pixels"),
        (b"04", "4 pixels"),
        (b"\xff\xff", "not compressed"),
        (b"hello world", "not compressed"),
        (b"P", "not compressed"),
        (b"P" * 40 + b"1", "absurdly long"),
        (b"O", "negative"),
        (encode_crop(np.ones((6, 6), np.uint8)), "36 pixels"),
    ],
)
def test_counts_of_another_mask_or_of_none_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        decode_crop(counts, 5, 5)


def test_runs_whose_sum_overflows_are_refused():
    """Added up in 64 bits they are of the right size, and the pixels would be written beyond the mask's memory."""
    longest, left = (1 << 34) - 1, (1 << 64) + 25
    count = next(n for n in range(40_000, 50_000) if longest * n * (n + 1) // 2 >= left)
    steps = []
    for weight in range(count, 0, -1):
        steps.append(min(longest, left // weight))
        left -= steps[-1] * weight
    runs = np.zeros(2 * count, np.int64)
    runs[1::2] = np.cumsum(steps)
    assert left == 0 and int(runs.sum()) == 25
    with pytest.raises(ValueError, match="absurdly long"):
        decode_crop(_rle.format_counts(runs), 5, 5)


@given(st.binary(max_size=30), st.integers(0, 8), st.integers(0, 8))
def test_arbitrary_bytes_are_a_mask_or_an_error(counts, height, width):
    try:
        crop = decode_crop(counts, height, width)
    except ValueError:
        return
    assert crop.shape == (height, width)
    assert set(np.unique(crop)) <= {0, 1}


@st.composite
def placed(draw):
    crop = draw(crops)
    x, y, right, below = (draw(st.integers(0, 12)) for _ in range(4))
    mask = Mask.from_crop(crop, x, y, (y + crop.shape[0] + below, x + crop.shape[1] + right))
    return crop, mask


@given(placed())
def test_a_mask_against_pycocotools(case):
    crop, mask = case
    full = np.zeros(mask.size, np.uint8)
    full[mask.box[1] :, mask.box[0] :][: crop.shape[0], : crop.shape[1]] = crop
    rle = reference(full)
    assert np.array_equal(mask.decode(), full)
    assert np.array_equal(mask.crop(), crop)
    assert mask.area == coco.area(rle)
    assert mask.to_coco() == {"size": list(full.shape), "counts": rle["counts"].decode()}
    if crop.any():
        assert list(mask.bbox) == coco.toBbox(rle).tolist()
    else:
        assert mask.bbox == (0, 0, 0, 0)


@given(placed())
def test_equal_pixels_make_equal_masks(case):
    _, mask = case
    tight = Mask.encode(mask.decode())
    assert tight == mask
    assert hash(tight) == hash(mask)
    assert tight.box[2:] == mask.bbox[2:]


def test_different_masks_are_not_equal():
    pixels = np.eye(4, dtype=bool)
    assert Mask.encode(pixels) != Mask.encode(pixels[::-1])
    assert Mask.encode(pixels) != Mask.encode(np.pad(pixels, 1))
    assert Mask.encode(pixels) != "mask"


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, -1), (3, 0), (0, 3)])
def test_a_crop_must_lie_inside(x, y):
    with pytest.raises(ValueError, match="leaves the image"):
        Mask.from_crop(np.ones((2, 2)), x, y, (4, 4))


@st.composite
def pairs(draw):
    (_, first), (_, second) = draw(placed()), draw(placed())
    size = tuple(np.maximum(first.size, second.size).tolist())
    return Mask(first.counts, first.box, size), Mask(second.counts, second.box, size)


@given(pairs())
def test_set_operations(masks):
    first, second = masks
    one, two = first.decode().astype(bool), second.decode().astype(bool)
    assert np.array_equal((first & second).decode(), one & two)
    assert np.array_equal((first | second).decode(), one | two)
    assert np.array_equal((first ^ second).decode(), one ^ two)
    assert np.array_equal((first - second).decode(), one & ~two)
    assert bool(first & second) == bool((one & two).any())
    if one.any() or two.any():
        reference_iou = coco.iou([reference(one)], [reference(two)], [0])[0][0]
        assert first.iou(second) == pytest.approx(reference_iou)


def test_set_operations_with_nothing():
    nothing, something = Mask.encode(np.zeros((3, 3))), Mask.encode(np.eye(3))
    assert (nothing | nothing) == nothing
    assert (nothing | something) == something
    assert not (nothing & something)
    assert nothing.iou(nothing) == 0
    with pytest.raises(ValueError, match="different sizes"):
        nothing | Mask.encode(np.zeros((4, 4)))


@given(placed())
def test_masks_from_coco(case):
    _, mask = case
    rle = mask.to_coco()
    assert Mask.from_coco(rle) == mask
    assert Mask.from_coco({**rle, "counts": rle["counts"].encode()}) == mask
    runs = _rle.parse_counts(rle["counts"].encode()).tolist()
    assert Mask.from_coco({**rle, "counts": runs}) == mask


def shoelace(outline):
    x, y = outline.T
    return (x @ np.roll(y, -1) - np.roll(x, -1) @ y) // 2


@given(placed())
def test_outlines_hold_exactly_the_pixels(case):
    _, mask = case
    outlines = mask.polygons()
    assert sum(shoelace(outline) for outline in outlines) == mask.area
    painted = np.zeros(mask.size, bool)
    for outline in outlines:  # every edge of an outline flips what is right of it
        for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            assert (x0 == x1) != (y0 == y1)
            painted[min(y0, y1) : max(y0, y1), x0:] ^= True
    assert np.array_equal(painted, mask.decode())


def test_an_outline_has_corners_only():
    pixels = np.zeros((6, 7), np.uint8)
    pixels[1:5, 2:6] = 1
    pixels[2:4, 3:5] = 0
    outer, hole = sorted(Mask.encode(pixels).polygons(), key=shoelace, reverse=True)
    assert sorted(outer.tolist()) == [[2, 1], [2, 5], [6, 1], [6, 5]]
    assert shoelace(outer) == 16
    assert shoelace(hole) == -4
    assert len(hole) == 4


def test_pixels_that_touch_at_a_corner_have_one_outline():
    (outline,) = Mask.encode(np.eye(3)).polygons()
    assert len(outline) == 12
    assert shoelace(outline) == 3


@given(placed())
def test_parts_are_8_connected_and_holes_4_connected(case):
    _, mask = case
    pixels = np.pad(mask.decode(), 1)
    outlines = mask.polygons()
    parts = cv2.connectedComponents(pixels, connectivity=8)[0] - 1
    holes = cv2.connectedComponents(1 - pixels, connectivity=4)[0] - 2  # but the background outside
    assert sum(shoelace(outline) > 0 for outline in outlines) == parts
    assert sum(shoelace(outline) < 0 for outline in outlines) == holes


@pytest.mark.parametrize("box", [(5, 6, 0, 3), (5, 6, 3, 0), (0, 0, 0, 0), (20, 10, 0, 0)])
def test_a_window_without_pixels(box):
    mask, nothing = Mask(b"", box, (10, 20)), Mask.encode(np.zeros((10, 20)))
    assert mask == nothing
    assert not mask.decode().any()
    assert (mask.area, mask.bbox, mask.polygons(), bool(mask)) == (0, (0, 0, 0, 0), [], False)
    assert (mask | nothing) == nothing
    assert mask.crop().shape == (box[3], box[2])
    assert Mask.from_coco(mask.to_coco()) == nothing
