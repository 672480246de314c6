"""Samples that are probabilities of weighted sums of planes, as PP-YOLOE_seg's are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from maskserve_server.painting.codes import ROUNDING, Floats
from maskserve_server.painting.windows import Window

# exp(y): 2 to the power of the whole number next to y / log(2), which is exact, times a polynomial of the rest. The
# polynomial and the two parts of log(2) are those of Cephes' expf.
_LIMIT = np.float32(87)
_PER_LOG2, _LOG2_HIGH, _LOG2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_MAGIC = np.float32(12582912)  # 1.5 * 2**23: what it is added to has its whole number in the last bits
_POLYNOMIAL = np.array(
    [1.98756915e-4, 1.39819995e-3, 8.33345191e-3, 4.16657962e-2, 1.66666654e-1, 5.00000012e-1], np.float32
)


@dataclass(frozen=True, slots=True, eq=False)
class SumPart:
    """The samples that one mask depends on: 1 / (1 + exp(-sum of weighted planes)).

    Attributes:
        planes: float32 [K, h, w], with rows that have no gaps. Those of all masks of an image are parts of one array,
            which is read together.
        weights: float32 [K], without gaps.
        left: the first sample's column in the grid of all samples.
        top: its row.
        crop: see `twice.Part`.
    """

    planes: Floats
    weights: Floats
    left: int
    top: int
    crop: Window

    def samples(self) -> Floats:
        """Return the samples, float32 [h, w]: the arithmetic of compiled/sums.c, in its order."""
        sums = np.zeros(self.planes.shape[1:], np.float32)
        # infinite sums are certain, and what is no number is outside
        with np.errstate(over="ignore", invalid="ignore"):
            for plane, weight in zip(self.planes, self.weights, strict=True):
                sums += plane * weight
        return probability(sums)


def probability(sums: Floats) -> Floats:
    """Return 1 / (1 + exp(-sums)), float32, wrong by less than 1e-7."""
    y = np.minimum(np.maximum(-sums, -_LIMIT), _LIMIT)
    shifted = y * _PER_LOG2 + _MAGIC
    whole = shifted - _MAGIC
    rest = (y - whole * _LOG2_HIGH) - whole * _LOG2_LOW
    power = np.full_like(rest, _POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        power *= rest
        power += coefficient
    power = (power * (rest * rest) + rest) + np.float32(1)
    exponent = (shifted.view(np.uint32) - _MAGIC.view(np.uint32) + np.uint32(127)) << np.uint32(23)
    return np.asarray(1 / (1 + power * exponent.view(np.float32)), np.float32)


def bounds(threshold: float) -> tuple[float, float]:
    """Return the sums below the first and above the second of which probabilities are certain, see `codes.margin`."""
    return _logit(threshold - 2 * ROUNDING), _logit(threshold + 2 * ROUNDING)


def _logit(value: float) -> float:
    """Return the sum whose probability is `value`; infinite where there is none."""
    if not 0 < value < 1:
        return math.copysign(math.inf, value - 0.5)
    return math.log(value / (1 - value))
