"""Arguments as users give them: one value or many, Python's numbers or numpy's; anything else is refused by name."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from maskserve.errors import InvalidParameter

_LONGEST = 1e6  # seconds, which sockets and gRPC can count; "no limit" is this long
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")

NOT_GIVEN: Final[Any] = object()
"""Stands for an argument that was left out, where None is a value."""


def checked_threshold(value: Any) -> float | None:
    """Return `value` as a score; None stays None.

    Raises:
        InvalidParameter: it is not a number between 0 and 1.
    """
    if value is None:
        return None
    number = _real(value)
    if not 0 <= number <= 1:
        raise InvalidParameter(f"threshold={value!r} is not a number between 0 and 1")
    return number


def checked_batch_size(value: Any) -> int:
    """Return `value` as a number of requests; None is 1.

    Raises:
        InvalidParameter: it is not a whole number from 1 to 256.
    """
    number = 1 if value is None else whole(value)
    if number is None or not 1 <= number <= 256:
        raise InvalidParameter(f"batch_size={value!r} is not a number between 1 and 256")
    return number


def checked_count(name: str, value: Any, least: int) -> int:
    """Return `value` as an int.

    Raises:
        InvalidParameter: it is not a whole number, or below `least`.
    """
    number = whole(value)
    if number is None or number < least:
        raise InvalidParameter(f"{name}={value!r} is not a whole number from {least} on")
    return number


def checked_seconds(name: str, value: Any) -> float:
    """Return `value` as a float above 0; infinity as the longest time that can be waited for.

    Raises:
        InvalidParameter: it is something else.
    """
    number = _real(value)
    if not number > 0:
        raise InvalidParameter(f"{name}={value!r} is not a number of seconds above 0")
    return min(number, _LONGEST)


def checked_area(value: Any) -> float:
    """Return `value` as a number of pixels.

    Raises:
        InvalidParameter: it is not a number.
    """
    number = _real(value)
    if math.isnan(number):
        raise InvalidParameter(f"min_area={value!r} is not a number of pixels")
    return number


def checked_flag(name: str, value: Any) -> bool | None:
    """Return `value` as a bool; None stays None.

    Raises:
        InvalidParameter: it is something else, such as the text "no".
    """
    if value is not None and not isinstance(value, bool | np.bool_):
        raise InvalidParameter(f"{name}={value!r} is neither True nor False")
    return None if value is None else bool(value)


def checked_headers(value: Any) -> dict[str, str]:
    """Return a copy of a mapping of header names to values; None is none.

    Raises:
        InvalidParameter: it is no mapping of text to text, or holds what no header can (line breaks, non-ASCII text).
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidParameter(f"headers={value!r} is not a dict of names and values")
    for name, content in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidParameter(f"headers: {name!r} is not the name of a header")
        if not isinstance(content, str) or not _HEADER_VALUE.fullmatch(content):
            # what it is stays unsaid: headers hold secrets
            raise InvalidParameter(f"headers: the value of {name!r} is not text in printable ASCII")
    return dict(value)


def checked_class_ids(values: Any) -> tuple[int, ...]:
    """Return one class id, or any iterable of them, as a tuple.

    Raises:
        InvalidParameter: something is not a class id.
    """
    one = isinstance(values, str) or whole(values) is not None
    return tuple(_class_id(value) for value in _several(values, one=one, name="class_ids"))


def checked_labels(values: Any) -> tuple[str, ...]:
    """Return one class name, or any iterable of them, as a tuple.

    Raises:
        InvalidParameter: something is not text.
    """
    labels = tuple(_several(values, one=isinstance(values, str), name="labels"))
    for label in labels:
        if not isinstance(label, str):
            raise InvalidParameter(f"a class name is text, not {label!r}; class ids go into class_ids=")
    return tuple(map(str.__str__, labels))  # of an enum's member its text, not its name


def checked_positions(values: Any, count: int) -> list[int]:
    """Return positions in a list of `count` things: one, any iterable of them, or a mask of `count` bools.

    Raises:
        InvalidParameter: something is not a position, or there is nothing there.
    """
    given = list(_several(values, one=isinstance(values, str) or whole(values) is not None, name="indices"))
    if given and all(isinstance(value, bool | np.bool_) for value in given):
        if len(given) != count:
            raise InvalidParameter(f"a mask of {len(given)} bools does not fit {count} instances")
        return [position for position, chosen in enumerate(given) if chosen]
    positions = []
    for value in given:
        number = whole(value)
        if number is None or not -count <= number < count:
            raise InvalidParameter(f"there is no instance {value!r}: there are {count}")
        positions.append(number)
    return positions


def whole(value: Any) -> int | None:
    """Return `value` as an int where it is a whole number of Python or numpy; None for anything else, and for bools."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _real(value: Any) -> float:
    """Return `value` as a float; nan where it is not one number."""
    if isinstance(value, np.generic | np.ndarray) and (value.ndim or value.dtype.kind not in "iuf"):
        return math.nan
    if isinstance(value, bool) or not hasattr(value, "__float__"):  # text has none, though float() takes it
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # a tensor of several, a number beyond all floats
        return math.nan


def _class_id(value: Any) -> int:
    number = whole(value)
    if number is None:
        raise InvalidParameter(f"a class id is an integer, not {value!r}; class names go into labels=")
    if not 0 <= number < 2**31:
        raise InvalidParameter(f"there is no class {number}")
    return number


def _several(values: Any, *, one: bool, name: str) -> Iterable[Any]:
    """Return `values` as an iterable: itself, or a tuple where it is one value."""
    if one:
        return (values,)
    if isinstance(values, np.ndarray) and not values.ndim:
        return (values.item(),)
    if isinstance(values, bytes | bytearray | memoryview) or not hasattr(values, "__iter__"):
        raise InvalidParameter(f"{name}={values!r}: give one value or a list of them")
    return iter(values)  # type: ignore[no-any-return]


def one_input(given: Any, x: Any) -> Any:
    """Return the input of `predict`, which has two names.

    Raises:
        InvalidParameter: it was given by none of them, or by both.
    """
    if (given is NOT_GIVEN) == (x is NOT_GIVEN):
        which = "nothing" if x is NOT_GIVEN else "both input= and x="
        raise InvalidParameter(f"predict() got {which}: give it the images as input, or as x=")
    return x if given is NOT_GIVEN else given
