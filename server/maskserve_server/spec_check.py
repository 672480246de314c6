"""Whether a `model.json` says what it must: it is a file that people edit, and a wrong value must not be served."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from maskserve_server.steps import MAX_SIDE, is_number, read_steps, show

_SEPARATORS = frozenset("/\\\0")
_LARGEST = 2**63
_LONGEST_QUEUE = 1_000_000


def check_document(document: Mapping[str, Any]) -> None:
    """Check the types and ranges of a `model.json`; keys that are missing or too many are found where it is used.

    Raises:
        ValueError: a value is wrong; the message names its key and says what is allowed.
        ToolError: a step of `preprocess` is.
    """
    _map("", document)
    checks = {
        "name": (_is_file_name, "a name"),
        "family": (_is_text, "the name of a family"),
        "settings": (_are_settings, "a map of numbers"),
        "labels": (_are_texts, "a list of names"),
        "draw_threshold": (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
        "classes": (lambda value: value is None or _is_count(value), "a whole number from 1, or null"),
    }
    _check("", document, checks)
    if document.get("preprocess"):
        read_steps(document["preprocess"], where="preprocess")
    _check("core", _map("core", document.get("core", {})), _CORE)
    _check("limits", _map("limits", document.get("limits", {})), _LIMITS)
    _check("queue", _map("queue", document.get("queue", {})), _QUEUE)


def _map(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key or 'it'} is {show(value)}; it must be a map")
    return value


def _check(where: str, values: Mapping[str, Any], checks: Mapping[str, tuple[Any, str]]) -> None:
    for key, (is_right, allowed) in checks.items():
        if key in values and not is_right(values[key]):
            raise ValueError(f"{where}{'.' if where else ''}{key} is {show(values[key])}; it must be {allowed}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_file_name(value: object) -> bool:
    return isinstance(value, str) and value not in ("", ".", "..") and not _SEPARATORS & set(value)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and _is_encodable(item) for item in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < _LARGEST


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and not math.isnan(value)


def _is_shape(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(side == -1 or (_is_count(side) and side <= MAX_SIDE) for side in value)
        and not any(isinstance(side, float) for side in value)
    )


def _are_settings(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    numbers = [item for held in value.values() for item in (held if isinstance(held, list) else [held])]
    return all(item is None or isinstance(item, bool) or is_number(item) for item in numbers)


_CORE: Mapping[str, tuple[Any, str]] = {
    "engine": (_is_text, "the name of an engine"),
    "file": (_is_file_name, "the name of a file beside model.json"),
    "inputs": (_are_texts, "a list of names of tensors"),
    "outputs": (_are_texts, "a list of names of tensors"),
    "image_shape": (_is_shape, f"a list of channels, height and width, each from 1 to {MAX_SIDE}, or -1 for any"),
    "precision": (_is_text, "the name of a precision"),
}
_LIMITS: Mapping[str, tuple[Any, str]] = {
    "max_bytes": (_is_count, "a whole number from 1"),
    "max_pixels": (_is_count, "a whole number from 1"),
    "decode_seconds": (_is_amount, "a number above 0"),
    "decode_bytes": (_is_count, "a whole number from 1"),
}
_QUEUE: Mapping[str, tuple[Any, str]] = {
    "size": (lambda value: _is_count(value) and value <= _LONGEST_QUEUE, f"a whole number from 1 to {_LONGEST_QUEUE}"),
    "seconds": (_is_amount, "a number above 0"),
    "seconds_per_image": (lambda value: is_number(value) and value >= 0, "a number from 0"),
}
