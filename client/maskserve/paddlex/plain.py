"""Values that users put into results, as JSON can hold them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskserve.errors import InvalidParameter


def plain(value: Any, where: str, *, strict: bool = True) -> Any:
    """Return a copy of `value` that JSON can hold: numpy's numbers and arrays and paths become Python's own.

    Args:
        value: anything that a user may have put into a result.
        where: what it is in, for the error.
        strict: raise about what JSON cannot hold; else it is returned as it is.

    Raises:
        InvalidParameter: JSON has no such thing.
    """
    try:
        return _plain(value, where, strict=strict)
    except RecursionError:
        if strict:
            raise InvalidParameter(
                f"{where} cannot be written as JSON: it contains itself, or is nested too deep"
            ) from None
        return value


def _plain(value: Any, where: str, *, strict: bool) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, where, strict=strict) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), where, strict=strict)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item, where, strict=strict) for item in value]
    if strict and not isinstance(value, os.PathLike):
        raise InvalidParameter(f"{where} cannot be written as JSON: convert or delete the {type(value).__name__} in it")
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _key(key: Any) -> Any:
    return key.item() if isinstance(key, np.generic) else key
