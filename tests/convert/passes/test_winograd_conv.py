"""Convolutions, and the same with fewer multiplications."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve_convert.onnx.passes.winograd_conv import tiled, winograd_conv
from maskserve_convert.onnx.winograd import spread, transforms
from tests.convert.graphs import Graph
from tests.convert.passes.cores import answers, kinds, reasons, rewritten, write

MANY = 512


def layer(
    path: Path, side: tuple[int | str, int | str], *, readings: int = 1, channels: int = MANY, normalised: bool = False
) -> Path:
    """Convolutions that share one kernel; they see different numbers."""
    graph, random = Graph("layer"), np.random.default_rng(0)
    weights = random.normal(size=(channels, channels, 3, 3)) / np.sqrt(9 * channels)
    kernel = graph.constant(weights.astype(np.float32))
    biases = [] if normalised else [random.normal(size=channels).astype(np.float32)]
    outputs = {}
    for number in range(readings):
        maps = graph.op("Mul", "maps", np.full(1, 1 + number, np.float32))
        result = graph.op("Conv", maps, kernel, *biases, kernel_shape=[3, 3], pads=[1] * 4)
        if normalised:
            norm = random.uniform(0.5, 1.5, (4, channels)).astype(np.float32)
            result = graph.op("BatchNormalization", result, *norm, epsilon=1e-3)
        outputs[f"result{number}"] = graph.op("Relu", result)
    return write(path, graph, {"maps": ("batch", channels, *side)}, outputs)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("side", [(55, 57), (56, 60)])
def test_filtered_maps_are_convolved_ones(normalised: bool, side: tuple[int, int], tmp_path: Path) -> None:
    plain = layer(tmp_path / "core.onnx", side, normalised=normalised)
    found, target = rewritten(plain, winograd_conv)
    assert found == 1
    assert kinds(target)["Conv"] == kinds(target)["BatchNormalization"] == 0
    maps = np.random.default_rng(1).normal(size=(2, MANY, *side)).astype(np.float32)
    before, after = (answers(path, {"maps": maps})["result0"] for path in (plain, target))
    assert np.abs(after - before).max() < 3e-5 * np.abs(before).max()


@pytest.mark.parametrize(
    ("side", "readings", "channels", "reason"),
    [
        ((40, 40), 2, MANY, None),
        ((40, 40), 1, MANY, "for fewer than 3000 positions, too few for four times its memory"),
        ((80, 80), 1, 256, "fewer than 131072 pairs of channels"),
        ((150, 150), 1, 384, "so large for its channels"),
        ((15, 15), 20, MANY, "have fewer than 256 positions, too few to pay (20 places)"),
        (("h", "w"), 1, MANY, "is not known beforehand"),
    ],
)
def test_it_is_done_where_it_pays(
    side: tuple[int | str, int | str], readings: int, channels: int, reason: str | None, tmp_path: Path
) -> None:
    path = layer(tmp_path / "core.onnx", side, readings=readings, channels=channels)
    if reason is None:
        assert rewritten(path, winograd_conv)[0] == readings
    else:
        (found,) = reasons(path, winograd_conv)
        assert reason in found


@given(length=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_the_tiles_filter_a_line_of_any_length(length: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    line, taps = random.normal(size=length), random.normal(size=3)
    side, kernel = tiled(length), transforms((0, 1, -1, 0.5, -2), 4).kernel
    values = (side.data @ line).reshape(-1, side.tiles) * (kernel @ taps)[:, None]
    np.testing.assert_allclose(side.row @ values.ravel(), np.convolve(np.pad(line, 1), taps[::-1], "valid"), atol=1e-4)


def test_kernels_are_spread_over_all_pairs_of_points() -> None:
    line = transforms((0, 1, -1), 2)
    kernels = np.random.default_rng(0).normal(size=(2, 3, 3, 3))
    values = spread(line, kernels)
    assert values.shape == (16, 3, 2)
    np.testing.assert_allclose(values[5, 1, 0], line.kernel[1] @ kernels[0, 1] @ line.kernel[1], rtol=1e-5)
