"""Run lengths along outlines are those of masks that are painted pixel by pixel, whatever the samples are."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.server import painters

from maskserve.masks import encode_crop
from maskserve_server.painting import blocks, codes, once, pasted, runs, twice
from maskserve_server.painting.compiled import build, library
from maskserve_server.painting.groups import Steps
from maskserve_server.painting.once import paint_once
from maskserve_server.painting.pasted import paste
from maskserve_server.painting.runs import encode_runs, tightened
from maskserve_server.painting.sums import SumPart, bounds, probability
from maskserve_server.painting.twice import Part, paint_twice
from maskserve_server.painting.windows import crop_windows, extent

Size = tuple[int, int]
Window = tuple[int, int, int, int]
Samples = tuple[np.ndarray, float]  # float32 [N, h, w], and a threshold
WAYS = ("compiled", "as it decides", "along outlines", "in strips", "in small parts")
many = settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def compiled() -> library.Library:
    """The library of today's sources, which is compiled where it is not there."""
    if library.loaded() is None:
        if build.compile_here() is None:
            pytest.skip("there is no C compiler, or it failed")
        library.loaded.cache_clear()
    found = library.loaded()
    assert found is not None
    return found


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mask is painted in the way that is cheaper, and must come out the same in every other one."""
    if request.param == "compiled":
        request.getfixturevalue("compiled")
        return
    for module in (once, pasted, runs, twice):
        monkeypatch.setattr(module, "loaded", lambda: None)
    for module in (once, twice):
        if request.param in ("along outlines", "in small parts"):
            monkeypatch.setattr(module, "COSTS", replace(module.COSTS, pixel=1e9, look=0, outlines=0))
        if request.param == "in strips":
            monkeypatch.setattr(module, "COSTS", replace(module.COSTS, outlines=float("inf")))
    if request.param == "in small parts":
        monkeypatch.setattr(blocks, "_LARGE", 4)
        monkeypatch.setattr(blocks, "_SMALL", 2)
        monkeypatch.setattr(blocks, "_AT_ONCE", 64)


@st.composite
def sample_grids(draw: st.DrawFn, most: int = 40) -> Samples:
    """Grids of samples of every kind, and thresholds that may be among the samples."""
    height, width, count = draw(st.integers(1, most)), draw(st.integers(1, most)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    noise = random.normal(size=(count, height, width))
    kind = draw(st.sampled_from(["smooth", "noise", "zeros and ones", "few values", "constant", "extreme", "integers"]))
    if kind == "smooth":
        sigma = draw(st.floats(0.3, 5))
        values = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma).reshape(height, width) for plane in noise])
    elif kind == "zeros and ones":
        values = (noise > 0).astype(float)
    elif kind == "few values":
        values = random.choice([0, 0.25, 0.5, 0.75, 1], noise.shape)
    elif kind == "constant":
        values = np.full(noise.shape, draw(st.sampled_from([0.0, 0.5, 1.0, -3.0])))
    elif kind == "extreme":
        values = np.sign(noise) * 10 ** random.uniform(-37, 37, noise.shape)
    elif kind == "integers":
        return random.integers(-3, 4, noise.shape), float(draw(st.integers(-2, 2)))
    else:
        values = noise
    values = values.astype(np.float32)
    named = draw(st.sampled_from([0.0, 0.5, 0.2, -1.0]))
    return values, float(values.flat[0]) if draw(st.booleans()) else named


@st.composite
def windows(draw: st.DrawFn, size: Size) -> Window:
    """A window of an image: all of it, a pixel, nothing, or any other."""
    height, width = size
    kind = draw(st.sampled_from(["any", "any", "all", "pixel"]))
    if kind == "all":
        return 0, 0, width, height
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    if kind == "pixel":
        return x0, y0, x0 + 1, y0 + 1
    return x0, y0, draw(st.integers(x0, width)), draw(st.integers(y0, height))


sizes = st.tuples(st.integers(1, 200), st.integers(1, 200))


def check(found: list[np.ndarray], places: list[Window], paint: Callable[[int, Window], np.ndarray]) -> None:
    """Run lengths are of the same pixels as what is painted, and become the same string."""
    strings = encode_runs(found, places)
    for index, (lengths, window) in enumerate(zip(found, places, strict=True)):
        mask = paint(index, window)
        pixels = np.repeat(np.arange(len(lengths)) % 2, lengths)
        np.testing.assert_array_equal(pixels, mask.reshape(-1, order="F"))
        assert strings[index] == encode_crop(mask)


@many
@given(data=st.data(), grid=sample_grids(), size=sizes)
def test_masks_of_one_resize(way: None, data: st.DataObject, grid: Samples, size: Size) -> None:
    samples, threshold = grid
    places = [data.draw(windows(size)) for _ in samples]
    found = paint_once(samples, range(len(samples)), size, places, threshold)
    floats = samples.astype(np.float32)
    check(found, places, lambda i, window: painters.paint_window(floats[i], size, window, threshold))


@many
@given(data=st.data(), grid=sample_grids(24), size=sizes)
def test_masks_of_two_resizes(way: None, data: st.DataObject, grid: Samples, size: Size) -> None:
    samples, threshold = np.asarray(grid[0], np.float32), grid[1]
    by = data.draw(st.sampled_from([1.0, 2.0, 2.6, 4.0, 4.0, 4.0]))
    enlarged: Size = (max(1, int(by * samples.shape[1])), max(1, int(by * samples.shape[2])))
    visible: Size = tuple(data.draw(st.integers(1, side) | st.just(side)) for side in enlarged)  # type: ignore[assignment]
    places = [data.draw(windows(size)) for _ in samples]
    crops = [data.draw(windows(enlarged)) for _ in samples]
    rows, columns = (Steps(*lengths) for lengths in zip(samples.shape[1:], enlarged, visible, size, strict=True))
    parts = [Part(mask, 0, 0, crop) for mask, crop in zip(samples, crops, strict=True)]
    found = paint_twice(parts, rows, columns, places, threshold)

    def paint(i: int, window: Window) -> np.ndarray:
        how = enlarged, crops[i], visible
        return painters.paint_twice(samples[i], *how, size=size, window=window, threshold=threshold)

    check(found, places, paint)


@many
@given(data=st.data(), grid=sample_grids(24), size=sizes, planes=st.integers(1, 9))
def test_masks_of_sums(way: None, data: st.DataObject, grid: Samples, size: Size, planes: int) -> None:
    """Probabilities of sums of planes, of which a mask needs a part: those of the whole are the same."""
    random = np.random.default_rng(planes)
    strength = data.draw(st.sampled_from([0.1, 1, 8, 30]))
    with np.errstate(over="ignore"):
        first = np.asarray(grid[0][0], np.float32) * np.float32(strength)
    whole = np.stack([first, *random.normal(size=(planes - 1, *first.shape)).astype(np.float32)])
    count = data.draw(st.sampled_from([1, 3, 3, 3, 35]))  # 35: more than are summed at once
    weights = random.normal(size=(count, planes)).astype(np.float32)
    threshold = data.draw(st.sampled_from([0.5, 0.5, 0.2, 0.0, 1.0, 0.999999]))
    enlarged: Size = (4 * first.shape[0], 4 * first.shape[1])
    places, crops = ([data.draw(windows(limits)) for _ in weights] for limits in (size, enlarged))
    rows, columns = (Steps(side, 4 * side, 4 * side, length) for side, length in zip(first.shape, size, strict=True))
    parts = [part_of(whole, own, crop) for own, crop in zip(weights, crops, strict=True)]
    found = paint_twice(parts, rows, columns, places, threshold)
    values = [SumPart(whole, own, 0, 0, crop).samples() for own, crop in zip(weights, crops, strict=True)]

    def paint(i: int, window: Window) -> np.ndarray:
        how = enlarged, crops[i], enlarged
        return painters.paint_twice(values[i], *how, size=size, window=window, threshold=threshold)

    check(found, places, paint)


def part_of(planes: np.ndarray, weights: np.ndarray, crop: Window) -> Part | SumPart:
    """The part of the planes that a crop of what is four times as large depends on."""
    x0, y0, x1, y1 = crop
    if x1 <= x0 or y1 <= y0:
        return Part(np.zeros((1, 1), np.float32), 0, 0, (0, 0, 0, 0))
    left, top = max(x0 // 4 - 1, 0), max(y0 // 4 - 1, 0)
    return SumPart(planes[:, top : -(-y1 // 4) + 1, left : -(-x1 // 4) + 1], weights, left, top, crop)


@given(st.floats(width=32, allow_nan=False) | st.floats(-20, 20, width=32))
def test_probabilities_are_those_of_the_formula(value: float) -> None:
    exact = 1 / (1 + math.exp(-max(min(value, 700), -700)))
    found = probability(np.array([value], np.float32))
    assert found.dtype == np.float32 and abs(float(found[0]) - exact) < 1e-7


def test_what_is_certain_beside_noise_stays_so(way: None) -> None:
    """Where noise has all pixels of a tile evaluated, those of its certain cells are evaluated, too."""
    sums = np.full((1, 40, 32), 20, np.float32)
    sums[:, :, :20] = np.random.default_rng(5).normal(size=(1, 40, 20))
    sums[:, 20:, 26:] = -20
    part = SumPart(sums, np.ones(1, np.float32), 0, 0, (0, 0, 128, 160))
    found = paint_twice([part], Steps(40, 160, 160, 150), Steps(32, 128, 128, 120), [(0, 0, 120, 150)], 0.5)
    how = (160, 128), part.crop, (160, 128)
    mask = painters.paint_twice(part.samples(), *how, size=(150, 120), window=(0, 0, 120, 150), threshold=0.5)
    assert mask[:60, 90:].all() and not mask[90:, 110:].any()
    check(found, [(0, 0, 120, 150)], lambda i, window: mask)


def test_what_is_no_number_is_outside(way: None) -> None:
    planes = np.full((1, 6, 6), np.nan, np.float32)
    steps = Steps(6, 24, 24, 30)
    found = paint_twice(
        [SumPart(planes, np.ones(1, np.float32), 0, 0, (0, 0, 24, 24))], steps, steps, [(0, 0, 30, 30)], 0.5
    )
    assert [lengths.tolist() for lengths in found] == [[900]]


@pytest.mark.parametrize("threshold", [0.5, 0.25, 0.9, 1e-7, 1 - 1e-7, 0.0, 1.0])
def test_sums_beyond_the_bounds_are_certain(threshold: float) -> None:
    low, high = bounds(threshold)
    around = np.nextafter(np.array([low, high], np.float32), np.array([-np.inf, np.inf], np.float32))
    below, above = probability(around)
    assert math.isinf(low) or below < threshold - codes.ROUNDING
    assert math.isinf(high) or above > threshold + codes.ROUNDING


@many
@given(grid=sample_grids(30), size=sizes, seed=st.integers(0, 999))
def test_masks_that_are_pasted(way: None, grid: Samples, size: Size, seed: int) -> None:
    samples, threshold = np.asarray(grid[0], np.float32), grid[1]
    corners = np.sort(np.random.default_rng(seed).uniform(0, 1, (len(samples), 2, 2)), axis=1).reshape(-1, 4)
    boxes = (corners * np.tile(size[::-1], 2)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + np.float32(0.25))
    places = crop_windows(boxes, (size[0] + 1, size[1] + 1))
    found = paste(samples, boxes, places, threshold)
    check(found, places, lambda i, window: painters.paste(samples[i], boxes[i], window, threshold))


@pytest.mark.parametrize("size", [(90, 90), (1000, 1000)])
def test_between_opposite_corners_rounding_decides_and_does_so_as_ever(way: None, size: Size) -> None:
    """Half-way across a saddle every value is the threshold but for the last bit: no crossing can be computed there."""
    samples = np.indices((6, 6)).sum(axis=0)[None] % 2 + np.float32(0.1)
    place = (0, 0, size[1], size[0])
    found = paint_once(samples, [0], size, [place], 0.6)
    mask = painters.paint_window(samples[0], size, place, 0.6)
    column = mask[:, size[1] // 2]
    assert 0 < column.sum() < len(column)
    check(found, [place], lambda i, window: mask)


def test_many_windows_of_an_image_do_not_mix(way: None) -> None:
    random = np.random.default_rng(2)
    samples = np.stack([cv2.GaussianBlur(p, (0, 0), 3) for p in random.normal(size=(70, 40, 40))]).astype(np.float32)
    indices = random.permutation(70).tolist()
    places = [(x, y, x + 60, y + 50) for x, y in random.integers(0, 40, (70, 2)).tolist()]
    found = paint_once(samples, indices, (120, 160), places, 0.0)
    check(found, places, lambda i, window: painters.paint_window(samples[indices[i]], (120, 160), window, 0.0))


def test_no_window_at_all_has_no_runs(way: None) -> None:
    samples = np.ones((0, 4, 4), np.float32)
    assert paint_once(samples, [], (9, 9), [], 0.0) == []
    assert paint_twice([], Steps(4, 16, 16, 9), Steps(4, 16, 16, 9), [], 0.5) == []
    assert paste(samples, np.ones((0, 4), np.float32), [], 0.5) == []


@settings(deadline=None)
@given(sample_grids(30))
def test_a_tight_window_is_the_extent_of_the_mask(grid: Samples) -> None:
    mask = (grid[0][0] > grid[1]).view(np.uint8)
    flat = mask.reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=0))
    height, width = mask.shape
    window, lengths = tightened(np.diff(edges, prepend=0, append=mask.size), (3, 5, 3 + width, 5 + height))
    x0, y0, x1, y1 = extent(mask)
    if x1 == x0:
        assert window == (0, 0, 0, 0)
        return
    assert window == (3 + x0, 5 + y0, 3 + x1, 5 + y1)
    assert encode_runs([lengths], [window]) == [encode_crop(mask[y0:y1, x0:x1])]


@pytest.mark.parametrize("sigma", [0.6, 8])
def test_a_mask_takes_less_memory_than_a_byte_for_each_pixel(sigma: float) -> None:
    noise = np.random.default_rng(1).normal(size=(160, 160))
    samples = cv2.GaussianBlur(noise, (0, 0), sigma).astype(np.float32)[None]
    size, place = (6000, 8000), (0, 0, 8000, 6000)
    tracemalloc.start()
    try:
        paint_once(samples, [0], size, [place], 0.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6000 * 8000


def test_what_is_certain_leaves_room_for_rounding() -> None:
    low, high = codes.margin(100.0, 0.5)
    assert low < np.float32(0.5) - 100 * np.finfo(np.float32).eps
    assert high > np.float32(0.5) + 100 * np.finfo(np.float32).eps


def test_a_library_of_other_sources_is_not_taken(
    compiled: library.Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever changes the sources, or updates them, has a library of the old ones until it is compiled again."""
    path = str(build.LIBRARIES / build.name())
    monkeypatch.setattr(build, "digest", lambda: 1)
    with pytest.raises(OSError, match="other sources"):
        library.Library(path)
    library.loaded.cache_clear()
    assert library.loaded() is None
    library.loaded.cache_clear()


@pytest.mark.parametrize("content", [None, b"", b"not a library"])
def test_without_a_library_masks_are_painted_in_numpy(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "LIBRARIES", tmp_path)
    if content is not None:
        (tmp_path / build.name()).write_bytes(content)
    library.loaded.cache_clear()
    try:
        assert library.loaded() is None
        samples = np.random.default_rng(3).normal(size=(1, 9, 9)).astype(np.float32)
        found = paint_once(samples, [0], (40, 50), [(1, 2, 44, 33)], 0.0)
        check(found, [(1, 2, 44, 33)], lambda i, window: painters.paint_window(samples[i], (40, 50), window, 0.0))
    finally:
        library.loaded.cache_clear()


def test_the_library_can_be_switched_off(compiled: library.Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_COMPILED_PAINTING", "0")
    library.loaded.cache_clear()
    assert library.loaded() is None
    library.loaded.cache_clear()


@pytest.mark.parametrize("shape", ["rows apart", "transposed", "doubles", "unaligned"])
def test_samples_may_lie_in_memory_as_they_like(way: None, shape: str) -> None:
    whole = np.random.default_rng(4).normal(size=(24, 30)).astype(np.float32)
    samples: np.ndarray = whole[3:20, 5:25]
    if shape == "transposed":
        samples = whole.T[3:20, 2:22]
    elif shape == "doubles":
        samples = samples.astype(np.float64)
    elif shape == "unaligned":
        samples = np.ndarray((17, 20), np.float32, buffer=b"xx" + whole.tobytes(), offset=2, strides=(120, 4))
    height, width = samples.shape
    steps = Steps(height, 4 * height, 4 * height, 90), Steps(width, 4 * width, 4 * width, 110)
    crop = (3, 2, 4 * width - 1, 4 * height - 3)
    found = paint_twice([Part(samples, 0, 0, crop)], *steps, [(0, 0, 110, 90)], 0.1)
    values = np.ascontiguousarray(samples, np.float32)
    how = (4 * height, 4 * width), crop, (4 * height, 4 * width)
    check(
        found,
        [(0, 0, 110, 90)],
        lambda i, window: painters.paint_twice(values, *how, size=(90, 110), window=window, threshold=0.1),
    )
