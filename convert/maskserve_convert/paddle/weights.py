"""The combined parameter file of an inference folder (`inference.pdiparams`), read and written without Paddle.

The file is one tensor after another, in the order of their sorted names, which it does not hold. A tensor is:
version (u32, 0), LoD levels (u64, 0), version (u32, 0), length of the descriptor (i32), the descriptor (protobuf
`TensorDesc`: field 1 the data type, field 2 the dimensions), the raw data.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO

from maskserve_convert.paddle.damage import DamagedFile
from maskserve_convert.paddle.half_precision import AS_FLOAT32, HALVES, widen_data

_HEADER = struct.Struct("<IQIi")
_LONGEST_DESCRIPTION = 1 << 12
_ITEM_BYTES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2}  # by Paddle's VarType


def check(source: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Make sure that a file holds the parameters of a program and nothing else; their data are not read.

    Args:
        source: an `inference.pdiparams`.
        shapes: the shapes of the program's parameters by name.

    Raises:
        DamagedFile: it is cut short, is of another program, or is no such file.
    """
    size = source.stat().st_size
    with source.open("rb") as file:
        for name in sorted(shapes):
            if file.tell() >= size:
                raise DamagedFile(f"{source} is cut short or of another export: it has no tensor for {name}")
            *_, description = _header(file, source)
            code, dims = _described(description, source)
            if dims != shapes[name]:
                wanted = f"the program's {name} has the shape {list(shapes[name])}"
                raise DamagedFile(f"{source} is of another export: {wanted}, its tensor {list(dims)}")
            file.seek(_ITEM_BYTES[code] * prod(dims), 1)
            if file.tell() > size:
                raise DamagedFile(f"{source} is cut short or damaged: it ends inside {name}")
        if file.tell() < size:
            raise _too_many(source, len(shapes))


def subset(source: Path, names: Sequence[str], keep: Collection[str], target: Path) -> None:
    """Write the tensors called `keep` of `source`, whose tensors are called `names`, to `target`.

    Those in half precision are written in single precision, as the program is read.

    Args:
        source: an `inference.pdiparams`.
        names: the names of all parameters of its program, in any order.
        keep: the names to keep.
        target: the file to write.

    Raises:
        DamagedFile: the file does not hold exactly the tensors that the program asks for.
    """
    with source.open("rb") as read, target.open("wb") as write:
        for name in sorted(names):
            for chunk in _tensor(read, source):
                if name in keep:
                    write.write(chunk)
        if read.read(1):
            raise _too_many(source, len(names))


def _too_many(source: Path, parameters: int) -> DamagedFile:
    return DamagedFile(f"{source} holds more tensors than the program has parameters ({parameters})")


def _header(file: BinaryIO, source: Path) -> tuple[bytes, bytes]:
    """Return the bytes of the next tensor's header and of its descriptor."""
    header = _exactly(file, _HEADER.size, source)
    *versions, length = _HEADER.unpack(header)
    if any(versions) or not 0 < length <= _LONGEST_DESCRIPTION:
        raise DamagedFile(f"{source} is damaged, or not a parameter file of Paddle")
    return header, _exactly(file, length, source)


def _tensor(file: BinaryIO, source: Path) -> Iterator[bytes]:
    """Yield the bytes of the next tensor: header, descriptor, data; of half precision as float32."""
    header, description = _header(file, source)
    code, dims = _described(description, source)
    if code in HALVES:
        description += AS_FLOAT32
        header = _HEADER.pack(0, 0, 0, len(description))
    yield header
    yield description
    remaining = _ITEM_BYTES[code] * prod(dims)
    while remaining:
        chunk = _exactly(file, min(remaining, 1 << 24), source)
        remaining -= len(chunk)
        yield widen_data(chunk, code) if code in HALVES else chunk


def _exactly(file: BinaryIO, size: int, source: Path) -> bytes:
    if size < 0 or len(data := file.read(size)) != size:
        raise DamagedFile(f"{source} is cut short or damaged: it ends inside a tensor")
    return data


def _described(description: bytes, source: Path) -> tuple[int, tuple[int, ...]]:
    """Return the number of a tensor's type and its shape, from its protobuf descriptor (dimensions may be packed)."""
    code, dims, position = 0, list[int](), 0
    while position < len(description):
        key, position = _varint(description, position)
        if key == 0x08:
            code, position = _varint(description, position)
            if code not in _ITEM_BYTES:
                raise DamagedFile(f"{source} is damaged: it has a tensor of an unknown type ({code})")
        elif key == 0x10:
            dimension, position = _varint(description, position)
            dims.append(dimension)
        elif key == 0x12:
            length, position = _varint(description, position)
            end = position + length
            while position < end:
                dimension, position = _varint(description, position)
                dims.append(dimension)
        else:
            raise DamagedFile(f"{source} is damaged: a tensor's descriptor has an unknown field")
    return code, tuple(dims)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise DamagedFile("a parameter file is damaged: a tensor's descriptor is cut short")
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
