"""Results as plain Python: what is printed, and what is written as JSON."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskserve.errors import InvalidParameter
from maskserve.text import printable

if TYPE_CHECKING:
    from maskserve.instances import Instances
    from maskserve.masks import Mask

MaskForm = Literal["rle", "dense", "none"]


def boxes(instances: Instances) -> list[dict[str, Any]]:
    """Return PaddleX's `boxes`: `cls_id`, `label`, `score` and `coordinate` of each instance.

    A coordinate on the edge of the image is an int there (0, the width or the height), any other a float. The
    floats are what JSON needs: the float32 value, exactly.
    """
    height, width = instances.image_size
    return [
        {
            "cls_id": class_id,
            "label": label,
            "score": score,
            "coordinate": [_low(x0), _low(y0), width if x1 >= width else x1, height if y1 >= height else y1],
        }
        for class_id, label, score, (x0, y0, x1, y1) in zip(
            instances.class_ids.tolist(),
            instances.labels,
            instances.scores.tolist(),
            instances.boxes_xyxy.tolist(),
            strict=True,
        )
    ]


def _low(value: float) -> float:
    return 0 if value <= 0 else value


def mask_documents(masks: tuple[Mask, ...], form: MaskForm) -> list[Any]:
    """Return the masks for JSON: COCO RLE of the crops with their place, or nested lists of 0 and 1.

    Raises:
        InvalidParameter: there is no such form.
    """
    if form == "dense":
        return [mask.crop().tolist() for mask in masks]
    if form == "rle":
        return [_rle_document(mask) for mask in masks]
    raise InvalidParameter(f"no form {form!r} of masks: rle, dense and none are known")


def _rle_document(mask: Mask) -> dict[str, Any]:
    x, y, width, height = mask.box
    return {"size": [height, width], "counts": mask.counts.decode("ascii"), "origin": [x, y]}


def line(value: Any) -> str:
    """Return `value` on one line, `coordinate` as short as float32 allows: 61.719788, not 61.71978759765625."""
    return repr(_shortened(value))


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: [_short(x) for x in item] if key == "coordinate" and isinstance(item, list) else _shortened(item)
            for key, item in value.items()
        }
    return [_shortened(item) for item in value] if isinstance(value, list) else value


def _short(number: Any) -> Any:
    """Return a float32 value as short as it can be; any other number, which was set by an edit, as it is."""
    with np.errstate(over="ignore"):
        return _float32(number) if isinstance(number, float) and number == np.float32(number) else number


def _float32(number: float) -> float:
    return number if isinstance(number, int) else float(np.format_float_positional(np.float32(number), unique=True))


def json_text(content: Any, *, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """Return strict JSON that UTF-8 holds; bytes of file names that are not UTF-8 are escaped as `printable` does.

    Raises:
        InvalidParameter: there is something in `content` that JSON does not have.
    """
    try:
        text = json.dumps(content, indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)
        if _SURROGATE.search(text):
            text = json.dumps(_utf8(content), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameter(f"the result cannot be written as JSON: {error}") from None
    return text


_SURROGATE = re.compile(r"[\ud800-\udfff]|\\ud[89a-f][0-9a-f]{2}")


def _utf8(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_utf8(key): _utf8(item) for key, item in value.items()}
    return [_utf8(item) for item in value] if isinstance(value, list | tuple) else value


def show_json(content: Any, *, indent: int | None = None, ensure_ascii: bool = False) -> None:
    """Print `content` as JSON; as ASCII, too, where standard output does not have all of its characters.

    Raises:
        InvalidParameter: there is something in it that JSON does not have.
    """
    text = json_text(content, indent=indent, ensure_ascii=ensure_ascii)
    try:
        text.encode(_encoding())
    except UnicodeEncodeError:
        text = json_text(content, indent=indent, ensure_ascii=True)
    print(text)


def show(text: str) -> None:
    """Print `text`; characters that standard output does not have are escaped."""
    encoding = _encoding()
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"
