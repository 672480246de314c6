"""The `Preprocess` list of a model, read and checked: one value for each step, with nothing left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskserve.errors import ToolError

MAX_SIDE = 16384  # pixels; a larger image does not fit into a server's memory
_INTERPOLATIONS = {"NEAREST": 0, "LINEAR": 1, "CUBIC": 2, "BICUBIC": 2, "AREA": 3, "LANCZOS4": 4}
_NUMBERS = 1e6  # the largest mean and std, and one over the smallest std

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Resize:
    """Resize to `height` x `width`, or with `keep_ratio` to what fits into it; `interpolation` is cv2's number."""

    height: int
    width: int
    keep_ratio: bool
    interpolation: int


@dataclass(frozen=True, slots=True)
class Normalize:
    """Compute (pixel * `scale` - `mean`) / `std`; mean and std are in the order red, green, blue."""

    scale: float
    mean: Triple
    std: Triple


@dataclass(frozen=True, slots=True)
class Permute:
    """Turn [height, width, channel] into [channel, height, width]."""


@dataclass(frozen=True, slots=True)
class PadStride:
    """Pad with zeros on the right and below to multiples of `stride`; not at all where it is 0 or less."""

    stride: int


Step = Resize | Normalize | Permute | PadStride


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a setting means that a file leaves out.

    Attributes:
        keep_ratio: of Resize.
        interp: of Resize.
        mean: of NormalizeImage.
        std: of NormalizeImage.
        stride: of PadStride.
        none_is_plain: whether `norm_type: none` leaves mean and std out.
    """

    keep_ratio: bool = False
    interp: int = 2
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    stride: int = 32
    none_is_plain: bool = False


# PaddleX's predictor, for `inference.yml`. It also subtracts the mean under `norm_type: none`.
PADDLEX = Defaults()
# PaddleDetection's own deployment, for `infer_cfg.yml`.
PADDLEDETECTION = Defaults(keep_ratio=True, interp=1, none_is_plain=True)


def read_steps(steps: object, *, where: str = "Preprocess", defaults: Defaults = PADDLEX) -> tuple[Step, ...]:
    """Read a `Preprocess` list.

    Args:
        steps: the list, as YAML or JSON gives it.
        where: what to call it in messages.
        defaults: what is meant by a setting that is left out.

    Raises:
        ToolError: a step, a setting or the order is wrong; the message names it and says what is allowed.
    """
    if not isinstance(steps, list | tuple) or not steps:
        raise ToolError(f"{where} is {show(steps)}; it must be a list of steps, such as `- type: Resize`")
    read = tuple(_step(_Settings(step, f"{where}[{index}]"), defaults) for index, step in enumerate(steps))
    _check_order(read, where)
    return read


def as_settings(steps: Sequence[Step]) -> tuple[Mapping[str, Any], ...]:
    """Return the `Preprocess` list that says all of `steps` in full, for JSON or YAML."""
    return tuple(map(_as_setting, steps))


def prepared_size(steps: Sequence[Step]) -> tuple[int, int] | None:
    """Return height and width of every image that `steps` make; None where they depend on the image."""
    resize = next(step for step in steps if isinstance(step, Resize))
    return None if resize.keep_ratio else padded_size(steps, resize.height, resize.width)


def padded_size(steps: Sequence[Step], height: int, width: int) -> tuple[int, int]:
    """Return the height and width that `steps` pad an image to, which has `height` and `width` after resizing."""
    for step in steps:
        if isinstance(step, PadStride) and step.stride > 0:
            height, width = (-(-side // step.stride) * step.stride for side in (height, width))
    return height, width


def show(value: object) -> str:
    """Return a value for a message, cut short."""
    if value is None:
        return "empty"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints, a list that holds itself
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


class _Settings:
    """The settings of one step. Each is taken once; what is left in the end is not known."""

    def __init__(self, step: object, where: str) -> None:
        if not isinstance(step, Mapping) or not isinstance(step.get("type"), str):
            raise ToolError(f"{where} is {show(step)}; a step must be a map with `type`, one of {', '.join(_READERS)}")
        self.kind = str(step["type"])
        self.where = f"{where} ({self.kind})"
        self._left = {key: value for key, value in step.items() if key != "type"}

    def take(self, key: str, default: object) -> Any:
        return self._left.pop(key, default)

    def wrong(self, key: str, value: object, allowed: str) -> ToolError:
        return ToolError(f"{self.where}: {key} is {show(value)}; it must be {allowed}")

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false, without quotes")
        return value

    def triple(self, key: str, default: Triple, *, above: float) -> Triple:
        value = self.take(key, default)
        values = [value] * 3 if is_number(value) else value
        allowed = f"a number or a list of three (red, green, blue), each from {above:g} to {_NUMBERS:g}"
        if not isinstance(values, list | tuple) or len(values) != 3:
            raise self.wrong(key, value, allowed)
        if not all(is_number(item) and above <= item <= _NUMBERS for item in values):
            raise self.wrong(key, value, allowed)
        red, green, blue = map(float, values)
        return red, green, blue

    def finish(self) -> None:
        if self._left:
            known = ", ".join(("type", *_KEYS[self.kind]))
            raise ToolError(f"{self.where}: {show(next(iter(self._left)))} is not a setting of it; it has {known}")


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, and not true or false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _step(settings: _Settings, defaults: Defaults) -> Step:
    reader = _READERS.get(settings.kind)
    if reader is None:
        known = ", ".join(_READERS)
        raise ToolError(f"{settings.where}: maskserve does not know this step; it knows {known}")
    step = reader(settings, defaults)
    settings.finish()
    return step


def _resize(settings: _Settings, defaults: Defaults) -> Resize:
    target = settings.take("target_size", None)
    sides = [target, target] if isinstance(target, int) else target
    is_pair = isinstance(sides, list | tuple) and len(sides) == 2
    if not is_pair or not all(_is_integer(side) and 1 <= side <= MAX_SIDE for side in sides):
        allowed = f"a list of two whole numbers (height, width), each from 1 to {MAX_SIDE}"
        raise settings.wrong("target_size", target, allowed)
    keep_ratio = settings.flag("keep_ratio", defaults.keep_ratio)
    interp = settings.take("interp", defaults.interp)
    number: Any = _INTERPOLATIONS.get(interp.upper()) if isinstance(interp, str) else interp
    if not _is_integer(number) or not 0 <= number <= 4:
        allowed = f"a whole number from 0 to 4, or one of {', '.join(_INTERPOLATIONS)}"
        raise settings.wrong("interp", interp, allowed)
    return Resize(sides[0], sides[1], keep_ratio, number)


def _normalize(settings: _Settings, defaults: Defaults) -> Normalize:
    kind = settings.take("norm_type", None)
    if kind not in (None, "", "none", "mean_std"):
        raise settings.wrong("norm_type", kind, "mean_std or none")
    scale = 1 / 255 if settings.flag("is_scale", True) else 1.0
    mean = settings.triple("mean", defaults.mean, above=-_NUMBERS)
    std = settings.triple("std", defaults.std, above=1 / _NUMBERS)
    if kind == "none" and defaults.none_is_plain:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Normalize(scale, mean, std)


def _permute(settings: _Settings, defaults: Defaults) -> Permute:
    return Permute()


def _pad_stride(settings: _Settings, defaults: Defaults) -> PadStride:
    stride = settings.take("stride", defaults.stride)
    if not _is_integer(stride) or not -1 <= stride <= MAX_SIDE:
        allowed = f"a whole number from 1 to {MAX_SIDE}, or 0 or -1 for no padding"
        raise settings.wrong("stride", stride, allowed)
    return PadStride(stride)


_READERS: Mapping[str, Callable[[_Settings, Defaults], Step]] = {
    "Resize": _resize,
    "NormalizeImage": _normalize,
    "Permute": _permute,
    "PadStride": _pad_stride,
}
_KEYS = {
    "Resize": ("target_size", "keep_ratio", "interp"),
    "NormalizeImage": ("norm_type", "is_scale", "mean", "std"),
    "Permute": (),
    "PadStride": ("stride",),
}


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_order(steps: Sequence[Step], where: str) -> None:
    """Check the order: Resize and NormalizeImage work on [height, width, channel], PadStride on Permute's result."""
    kinds = [_name(step) for step in steps]
    if kinds.count("Resize") != 1 or kinds.count("Permute") != 1:
        raise ToolError(f"{where} must resize and permute exactly once; it lists {', '.join(kinds)}")
    at = kinds.index("Permute")
    early = "PadStride" if "PadStride" in kinds[:at] else None
    late = next((kind for kind in kinds[at:] if kind in ("Resize", "NormalizeImage")), None)
    if early or late:
        what = f"{early} stands before Permute" if early else f"{late} stands after Permute"
        raise ToolError(
            f"{where} cannot work in this order: {', '.join(kinds)}; {what}, but Resize and NormalizeImage must stand "
            "before Permute, and PadStride after it"
        )


def _name(step: Step) -> str:
    return "NormalizeImage" if isinstance(step, Normalize) else type(step).__name__


def _as_setting(step: Step) -> Mapping[str, Any]:
    kind = {"type": _name(step)}
    match step:
        case Resize():
            size = [step.height, step.width]
            return {**kind, "target_size": size, "keep_ratio": step.keep_ratio, "interp": step.interpolation}
        case Normalize():
            numbers = {"mean": list(step.mean), "std": list(step.std)}
            return {**kind, "norm_type": "mean_std", "is_scale": step.scale != 1, **numbers}
        case Permute():
            return kind
        case PadStride():
            return {**kind, "stride": step.stride}
