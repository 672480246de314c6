"""A stage's answer as the client reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskserve.instances import Instances
from maskserve.transport.wire import BYTES_LENGTH, Tensor, read_answer

_KINDS = {"f": "FP32", "i": "INT32", "O": "BYTES"}


def instances_of(columns: Mapping[str, np.ndarray[Any, Any]], labels: tuple[str, ...] = ()) -> Instances:
    """The instances in the columns that a stage answers with."""
    return read_answer([Tensor(n, _KINDS[a.dtype.kind], a.shape, _packed(a)) for n, a in columns.items()], labels)


def _packed(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype.kind != "O":
        return array.tobytes()
    return b"".join(BYTES_LENGTH.pack(len(text)) + text for text in array.tolist())
