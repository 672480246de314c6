"""The combined parameter file of an inference folder (`inference.pdiparams`), read and written without Paddle.

The file is one tensor after another, in the order of their sorted names, which it does not hold. A tensor is:
version (u32, 0), LoD levels (u64, 0), version (u32, 0), length of the descriptor (i32), the descriptor (protobuf
`TensorDesc`: field 1 the data type, field 2 the dimensions), the raw data.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from maskserve.errors import ToolError

_HEADER = struct.Struct("<IQIi")
_ITEM_BYTES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2}  # by Paddle's VarType


def subset(source: Path, names: Sequence[str], keep: Collection[str], target: Path) -> None:
    """Write the tensors called `keep` of `source`, whose tensors are called `names`, to `target`.

    Args:
        source: an `inference.pdiparams`.
        names: the names of all parameters of its program, in any order.
        keep: the names to keep.
        target: the file to write.

    Raises:
        ToolError: the file does not hold exactly the tensors that the program asks for.
    """
    with source.open("rb") as read, target.open("wb") as write:
        for name in sorted(names):
            for chunk in _tensor(read, source):
                if name in keep:
                    write.write(chunk)
        if read.read(1):
            raise ToolError(f"{source} holds more tensors than the program has parameters ({len(names)})")


def _tensor(file: BinaryIO, source: Path) -> Iterator[bytes]:
    """The bytes of the next tensor: header, descriptor, data."""
    header = _exactly(file, _HEADER.size, source)
    *_, length = _HEADER.unpack(header)
    description = _exactly(file, length, source)
    yield header
    yield description
    remaining = _data_bytes(description, source)
    while remaining:
        chunk = _exactly(file, min(remaining, 1 << 24), source)
        remaining -= len(chunk)
        yield chunk


def _exactly(file: BinaryIO, size: int, source: Path) -> bytes:
    if size < 0 or len(data := file.read(size)) != size:
        raise ToolError(f"{source} is cut short or damaged: it ends inside a tensor")
    return data


def _data_bytes(description: bytes, source: Path) -> int:
    """The size of a tensor's data, from its protobuf descriptor (varints only; dimensions may be packed)."""
    total, position = 0, 0
    while position < len(description):
        key, position = _varint(description, position)
        if key == 0x08:
            code, position = _varint(description, position)
            if code not in _ITEM_BYTES:
                raise ToolError(f"{source}: a tensor of an unknown type ({code})")
            total = _ITEM_BYTES[code]
        elif key == 0x10:
            dimension, position = _varint(description, position)
            total *= dimension
        elif key == 0x12:
            length, position = _varint(description, position)
            end = position + length
            while position < end:
                dimension, position = _varint(description, position)
                total *= dimension
        else:
            raise ToolError(f"{source} is damaged: a tensor's descriptor has an unknown field")
    return total


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise ToolError("a parameter file is damaged: a tensor's descriptor is cut short")
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
