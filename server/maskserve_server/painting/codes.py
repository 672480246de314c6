"""On which side of the threshold samples are, and which cells between them have pixels on both."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
IN, OUT = np.uint8(1), np.uint8(2)  # 0 is neither: too close to the threshold. Codes are joined by "and".
ROUNDING = 2.0**-16  # of the largest sample: 256 times a float32's rounding; four interpolations make less than 100


def magnitude(samples: Floats) -> float:
    """Return the largest absolute value of samples; there is at least one."""
    return max(float(samples.max()), -float(samples.min()))


def margin(largest: float, threshold: float) -> tuple[np.float32, np.float32]:
    """Return how far below and above the threshold samples must be for rounding never to carry a pixel across it.

    Args:
        largest: the samples' magnitude.
        threshold: the threshold.
    """
    return np.float32(threshold - largest * ROUNDING), np.float32(threshold + largest * ROUNDING)


def codes(samples: Floats, bounds: tuple[np.float32, np.float32]) -> Codes:
    """Return `IN` for samples above both bounds, `OUT` for those below both, 0 for those between."""
    result: Codes = (samples < bounds[0]).view(np.uint8)
    result += result
    result += (samples > bounds[1]).view(np.uint8)
    return result


def sliding(code: Codes, axis: int, first: int, count: int, reach: int) -> Codes:
    """Return the codes of `count` cells in a row, each of samples from its own number to `reach` further on.

    Args:
        code: of the samples, [h, w].
        axis: along which.
        first: the first cell's sample; what lies outside is as at the border.
        count: the number of cells.
        reach: see above.
    """
    size = code.shape[axis]
    padded = code
    if first != 0 or count + reach != size:
        index = np.minimum(np.maximum(np.arange(first, first + count + reach), 0), size - 1)
        padded = code.take(index, axis=axis)
    parts = [padded[i : i + count] if axis == 0 else padded[:, i : i + count] for i in range(reach + 1)]
    cells = parts[0] & parts[-1]
    for part in parts[1:-1]:
        cells &= part
    return cells


def joined(code: Codes, axis: int, *samples: Integers) -> Codes:
    """Return the codes of cells that depend on several samples along an axis."""
    cells = code.take(samples[0], axis=axis)
    for sample in samples[1:]:
        cells &= code.take(sample, axis=axis)
    return cells


def crossed(cells: Codes) -> tuple[Integers, Integers]:
    """Return row and column of the cells that are not certain to lie on one side of the threshold.

    Those in the first and the last row of cells are only certain when they are outside: what is above and below
    a window counts as background, and where a column begins or ends inside, its runs change.
    """
    cells[0] &= OUT
    cells[-1] &= OUT
    found = np.flatnonzero(cells == 0)
    row = found // cells.shape[1]
    return row, found - row * cells.shape[1]
