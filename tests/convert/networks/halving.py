"""Export a model in half precision, as Paddle's mixed-precision tools write it."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Json = dict[str, Any]

COMPUTES = frozenset({"1.conv2d", "1.matmul", "1.conv2d_transpose", "1.depthwise_conv2d"})
FLOAT16, FLOAT32 = "0.t_f16", "0.t_f32"
_STORED = b"\x08\x05"  # the descriptor of a tensor of float32 begins so


def halve(source: Path, target: Path, *, computing: bool) -> int:
    """Write a folder again with the weights of convolutions and matrix products in float16.

    Args:
        source: a folder with `inference.json`, in float32.
        target: the folder to write.
        computing: whether these operators compute in float16, too, with casts before and behind them; otherwise the
            weights alone are cast, to float32.

    Returns:
        How many operators have such weights.
    """
    shutil.copytree(source, target)
    document = json.loads((target / "inference.json").read_text(encoding="utf-8"))
    (block,) = document["program"]["regions"][0]["blocks"]
    halved = _halve_program(block, computing=computing)
    (target / "inference.json").write_text(json.dumps(document), encoding="utf-8")
    names = {op["A"][3]: op["O"]["TT"]["D"][0]["#"] == FLOAT16 for op in block["ops"] if op["#"] == "p"}
    stored = (source / "inference.pdiparams").read_bytes()
    with (target / "inference.pdiparams").open("wb") as file:
        for name, (description, data) in zip(sorted(names), _tensors(stored), strict=True):
            half = np.frombuffer(data, "<f4").astype("<f2").tobytes() if names[name] else data
            said = description.replace(_STORED, b"\x08\x04", 1) if names[name] else description
            file.write(struct.pack("<IQIi", 0, 0, 0, len(said)) + said + half)
    return halved


def _halve_program(block: Json, *, computing: bool) -> int:
    readers: dict[int, list[Json]] = {}
    for op in block["ops"]:
        for item in op.get("I", ()):
            readers.setdefault(item["%"], []).append(op)
    free = 1 + max(_values(block))
    types: dict[int, Json] = {}
    halved, ops = set(), list[Json]()
    count = 0
    for op in block["ops"]:
        items = op["O"] if isinstance(op["O"], list) else [op["O"]]
        types |= {item["%"]: item["TT"] for item in items}
        value = items[0]["%"] if items else 0
        if op["#"] == "p" and all(_computes_with(reader, value) for reader in readers.get(value, [{"#": ""}])):
            halved.add(value)
            items[0]["TT"] = _typed(items[0]["TT"], FLOAT16)
        if op["#"] not in COMPUTES or op["I"][1]["%"] not in halved:
            ops.append(op)
            continue
        count += 1
        side = 0 if computing else 1
        read = op["I"][side]["%"]
        op["I"][side] = {"%": free}
        ops += [_cast(read, free, types[read], FLOAT16 if computing else FLOAT32), op]
        if computing:
            wide = items[0]["TT"]
            items[0] |= {"%": free + 1, "TT": _typed(wide, FLOAT16)}
            ops.append(_cast(free + 1, value, wide, FLOAT32))
        free += 2
    block["ops"] = ops
    return count


def _computes_with(reader: Json, value: int) -> bool:
    return reader["#"] in COMPUTES and reader["I"][1]["%"] == value


def _typed(kind: Json, element: str) -> Json:
    _, *rest = kind["D"]
    return {**kind, "D": [{"#": element}, *rest]}


def _cast(read: int, written: int, kind: Json, element: str) -> Json:
    name = {FLOAT16: "float16", FLOAT32: "float32"}[element]
    return {
        "#": "1.cast",
        "A": [{"AT": {"#": "1.a_dtype", "D": name}, "N": "dtype"}],
        "I": [{"%": read}],
        "O": [{"%": written, "TT": _typed(kind, element)}],
        "OA": [{"AT": {"#": "0.a_array", "D": [{"#": "0.a_bool", "D": True}]}, "N": "stop_gradient"}],
    }


def _values(found: object) -> Iterator[int]:
    if isinstance(found, dict):
        if isinstance(found.get("%"), int):
            yield found["%"]
        for inner in found.values():
            yield from _values(inner)
    elif isinstance(found, list):
        for inner in found:
            yield from _values(inner)


def _tensors(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield descriptor and data of each tensor of a parameter file without packed dimensions."""
    sizes = {3: 8, 5: 4, 2: 4, 0: 1, 6: 8}
    position = 0
    while position < len(data):
        *_, length = struct.unpack_from("<IQIi", data, position)
        description = data[position + 20 : position + 20 + length]
        position += 20 + length
        fields, at = list[int](), 0
        while at < length:
            at, value, shift = at + 1, 0, 0
            while True:
                value |= (description[at] & 127) << shift
                at, shift = at + 1, shift + 7
                if description[at - 1] < 128:
                    break
            fields.append(value)
        size = sizes[fields[0]] * int(np.prod(fields[1:]))
        yield description, data[position : position + size]
        position += size
