"""Programs in half precision (float16, bfloat16), read as what they are in single precision.

Paddle's mixed-precision exports store weights in half precision, and compute in it on a GPU. Paddle has no such
convolution on a CPU, and an engine that has one loses digits. A number of half precision is a number of single
precision, too. So the same program in single precision answers at least as exactly, on every engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Json = dict[str, Any]

_SINGLE = "0.t_f32"
_TYPES = frozenset({"0.t_f16", "0.t_bf16"})
_NAMES = frozenset({"float16", "bfloat16"})
# By the numbers that parameter files have for element types (Paddle's VarType).
_FLOAT16, _BFLOAT16, _FLOAT32 = 4, 22, 5
HALVES = frozenset({_FLOAT16, _BFLOAT16})
# A later value of a protobuf field replaces an earlier one: this makes a descriptor one of float32.
AS_FLOAT32 = bytes((0x08, _FLOAT32))


def widen_program(ops: list[Json]) -> list[Json]:
    """Turn half precision into single precision, in place, and drop the casts between the two.

    A cast stays where an operator that works in place reads it: without the cast it would write into the original.

    Args:
        ops: the operators of a program, as its JSON has them.

    Returns:
        The operators without the casts that nothing needs any longer.
    """
    kept_values = {item["%"] for op in _dicts(ops) if _in_place(op) for item in op.get("I", ())}
    renamed: dict[int, int] = {}
    kept = _without_casts(ops, _types(ops), kept_values, renamed)
    for found in _dicts(kept):
        if found.get("#") in _TYPES:
            found["#"] = _SINGLE
        elif found.get("#") == "1.a_dtype" and found["D"] in _NAMES:
            found["D"] = "float32"
        for item in found.get("I", ()) if renamed else ():
            while item["%"] in renamed:
                item["%"] = renamed[item["%"]]
    return kept


def widen_data(chunk: bytes, code: int) -> bytes:
    """Return numbers of a type in `HALVES`, whole ones, as float32."""
    if code == _FLOAT16:
        return np.frombuffer(chunk, "<f2").astype("<f4").tobytes()
    return (np.frombuffer(chunk, "<u2").astype("<u4") << 16).tobytes()


def _in_place(op: Json) -> bool:
    return "I" in op and str(op.get("#")).endswith("_")


def _without_casts(ops: list[Json], types: Mapping[int, str], needed: set[int], renamed: dict[int, int]) -> list[Json]:
    """Return the operators without casts between half and single precision; note what stands for their results."""
    kept = []
    for op in ops:
        for region in op.get("regions", ()):
            for block in region["blocks"]:
                block["ops"] = _without_casts(block["ops"], types, needed, renamed)
        if op["#"] == "1.cast":
            (source,), (result,) = op["I"], op["O"]
            sides = {types.get(source["%"]), types.get(result["%"])}
            if sides & _TYPES and sides <= _TYPES | {_SINGLE} and result["%"] not in needed:
                renamed[result["%"]] = source["%"]
                continue
        kept.append(op)
    return kept


def _types(ops: list[Json]) -> dict[int, str]:
    """Return the element types of all tensors by their values."""
    found = {}
    for item in _dicts(ops):
        kind = item.get("TT")
        if "%" in item and isinstance(kind, dict) and str(kind.get("#")).endswith("t_dtensor"):
            found[item["%"]] = str(kind["D"][0]["#"])
    return found


def _dicts(found: object) -> Iterator[Json]:
    """Yield every object of a JSON document, outer ones first."""
    pending = [found]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            yield one
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
