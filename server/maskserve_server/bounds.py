"""What the tensors between the stages may be: a stranger may have sent them to a step, with a size that never ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve.errors import ImageTooLarge, InvalidParameter
from maskserve_server.painting.windows import Floats
from maskserve_server.steps import MAX_SIDE, Resize, Step, padded_size

# Of a network that lists its instances; the largest family finds 300.
_INSTANCES = 1000


def checked_size(size: npt.NDArray[Any], max_pixels: int) -> tuple[int, int]:
    """Return the height and width of the original image.

    Raises:
        InvalidParameter: they are no size.
        ImageTooLarge: it has more pixels than an image may have.
    """
    if size.shape != (2,) or size.min() < 1:
        raise InvalidParameter(f"IMAGE_SIZE {size.tolist()} is not a height and a width")
    height, width = map(int, size)
    if height * width > max_pixels:
        raise ImageTooLarge(f"the image has {width}x{height} pixels, the limit is {max_pixels} in all")
    return height, width


def checked_scale(scale_factor: npt.NDArray[Any], size: tuple[int, int]) -> Floats:
    """Return the scale of the network's input, float32 [2].

    Raises:
        InvalidParameter: it is not one that preprocessing makes.
    """
    scale = scale_factor.reshape(-1)
    if scale.shape != (2,) or not np.isfinite(scale).all() or scale.min() <= 0:
        raise InvalidParameter("scale_factor is not two numbers above 0")
    if (np.multiply(size, scale) > MAX_SIDE + 1).any():
        raise InvalidParameter(f"scale_factor enlarges the image beyond {MAX_SIDE} pixels")
    return scale


def check_outputs(outputs: Mapping[str, npt.NDArray[Any]], *, batched: bool) -> None:
    """Check that the core's answer is one image's.

    Args:
        outputs: the tensors at the cut.
        batched: whether they begin with a batch dimension; else they list instances.

    Raises:
        InvalidParameter: it is more.
    """
    for name, array in outputs.items():
        rows = array.shape[0] if array.ndim else 0
        if rows > (1 if batched else _INSTANCES):
            raise InvalidParameter(f"{name} has {rows} {'images' if batched else 'instances'}")


def largest_image(steps: Sequence[Step], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the channels, height and width that no prepared image exceeds."""
    channels, height, width = shape
    if height > 0 and width > 0:
        return shape
    resize = next((step for step in steps if isinstance(step, Resize)), None)
    side = MAX_SIDE if resize is None else max(resize.height, resize.width)
    return channels, *padded_size(steps, side, side)


def check_image(image: npt.NDArray[Any], largest: tuple[int, int, int]) -> None:
    """Check that a prepared image is one, and not larger than preprocessing makes it.

    Raises:
        InvalidParameter: it is not.
    """
    limits = (1, *largest)
    if image.ndim != len(limits) or any(have > limit for have, limit in zip(image.shape, limits, strict=True)):
        raise InvalidParameter(f"image has the shape {list(image.shape)}, at most {list(limits)} is possible")
