"""A filter behind a doubling, and the filters of its phases."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve_convert.onnx.passes.fold_upsample_conv import composed, fold_upsample_conv
from tests.convert.graphs import Graph
from tests.convert.passes.cores import answers, kinds, reasons, rewritten, write

CHANNELS, DOUBLED, RESULTS = 3, 4, 5


class Mask:
    """PP-YOLOE_seg's way to its prototypes."""

    def __init__(self) -> None:
        self.graph, self._random = Graph("mask"), np.random.default_rng(0)

    def doubled(self, *, bias: bool, stride: int = 2) -> Any:
        size = {"kernel_shape": [2, 2], "strides": [stride, stride]}
        maps = self.graph.op("ConvTranspose", "maps", self._numbers(CHANNELS, DOUBLED, 2, 2), **size)
        return self.graph.op("Add", maps, self._numbers(1, DOUBLED, 1, 1)) if bias else maps

    def filtered(self, maps: Any, *, bias: bool) -> Any:
        biases = [self._numbers(RESULTS)] if bias else []
        kernel = self._numbers(RESULTS, DOUBLED, 3, 3)
        return self.graph.op("Conv", maps, kernel, *biases, kernel_shape=[3, 3], pads=[1] * 4)

    def followed(self, maps: Any) -> Any:
        norm = self._random.uniform(0.5, 1.5, (4, RESULTS)).astype(np.float32)
        plain = self.graph.op("BatchNormalization", maps, *norm, epsilon=1e-3)
        active = self.graph.op("Mul", plain, self.graph.op("Sigmoid", plain))
        return self.graph.op("Conv", active, self._numbers(2, RESULTS, 1, 1), kernel_shape=[1, 1])

    def _numbers(self, *shape: int) -> np.ndarray:
        return self._random.normal(size=shape).astype(np.float32)


def rewrite(path: Path) -> tuple[int, Path]:
    return rewritten(path, fold_upsample_conv)


@pytest.mark.parametrize("size", [(1, 1), (4, 7), (5, 2)])
@pytest.mark.parametrize(("bias", "own"), [(True, False), (False, True), (False, False), (True, True)])
def test_the_phases_together_are_the_filtered_map(size: tuple[int, int], bias: bool, own: bool, tmp_path: Path) -> None:
    mask = Mask()
    result = mask.followed(mask.filtered(mask.doubled(bias=bias), bias=own))
    plain = write(tmp_path / "core.onnx", mask.graph, {"maps": ("batch", CHANNELS, "h", "w")}, {"prototypes": result})
    found, target = rewrite(plain)
    assert found == 1
    assert kinds(target)["ConvTranspose"] == 0
    maps = np.random.default_rng(1).normal(size=(2, CHANNELS, *size)).astype(np.float32)
    before, after = (answers(path, {"maps": maps})["prototypes"] for path in (plain, target))
    assert before.shape == (2, 2, 2 * size[0], 2 * size[1])
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


def test_what_reads_the_map_in_between_goes_on_from_there(tmp_path: Path) -> None:
    mask = Mask()
    filtered = mask.filtered(mask.doubled(bias=True), bias=True)
    outputs = {"prototypes": mask.followed(filtered), "filtered": filtered}
    plain = write(tmp_path / "core.onnx", mask.graph, {"maps": (1, CHANNELS, 4, 4)}, outputs)
    found, target = rewrite(plain)
    assert found == 1
    assert kinds(target)["Sigmoid"] == 1  # behind the phases, not in each of them
    maps = np.random.default_rng(1).normal(size=(1, CHANNELS, 4, 4)).astype(np.float32)
    before, after = (answers(path, {"maps": maps}) for path in (plain, target))
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("watched", [True, False])
def test_other_doublings_stay(watched: bool, tmp_path: Path) -> None:
    mask = Mask()
    doubled = mask.doubled(bias=True, stride=2 if watched else 3)
    outputs = {"prototypes": mask.filtered(doubled, bias=True), **({"doubled": doubled} if watched else {})}
    plain = write(tmp_path / "core.onnx", mask.graph, {"maps": (1, CHANNELS, 4, 4)}, outputs)
    (reason,) = reasons(plain, fold_upsample_conv)
    assert ("something besides one convolution reads" if watched else "not doubled by a plain 2x2") in reason


def test_what_is_added_along_another_side_is_no_bias(tmp_path: Path) -> None:
    mask = Mask()
    along_the_width = np.arange(DOUBLED, dtype=np.float32).reshape(1, 1, 1, DOUBLED)
    doubled = mask.graph.op("Add", mask.doubled(bias=False), along_the_width)
    result = mask.filtered(doubled, bias=False)
    plain = write(tmp_path / "core.onnx", mask.graph, {"maps": (1, CHANNELS, 3, DOUBLED // 2)}, {"prototypes": result})
    (reason,) = reasons(plain, fold_upsample_conv)
    assert reason == "what is added to the enlarged map is not one number for each channel"


@given(st.integers(0, 2**32 - 1))
def test_a_composed_kernel_is_the_one_behind_the_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    kernel, doubling = (random.normal(size=size).astype(np.float32) for size in ((2, 3, 3, 3), (4, 3, 2, 2)))
    maps = np.pad(random.normal(size=(4, 3, 3)), ((0, 0), (1, 1), (1, 1)))
    doubled = np.einsum("iyx,icpq->cypxq", maps, doubling).reshape(3, 10, 10)
    for down, right in product((0, 1), repeat=2):
        # Around the pixel in the middle, which is the third of five.
        window = doubled[:, 4 + down - 1 : 4 + down + 2, 4 + right - 1 : 4 + right + 2]
        around = maps[:, 1 + down : 3 + down, 1 + right : 3 + right]
        both = composed(kernel, doubling, (down, right))
        small = (both * around).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(small, np.einsum("ocyx,cyx->o", kernel, window), rtol=1e-4, atol=1e-4)
