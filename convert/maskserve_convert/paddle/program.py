"""A Paddle program (PIR) as the JSON that `inference.json` holds: read, queried and written without Paddle.

The file is `{"base_code": {...}, "program": {"regions": [{"blocks": [{"args": [], "ops": [...]}]}]}}`. An operator
is a dict: `#` its name, `I` its inputs, `O` its outputs with their types, `A` its attributes, `regions` its nested
blocks. A value is a number, unique in the file; 0 stands for an optional input that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from maskserve.errors import ToolError
from maskserve_convert.paddle.damage import DamagedFile
from maskserve_convert.paddle.half_precision import widen_program

Json = dict[str, Any]

# Version 1 is what Paddle 3.0 reads and Paddle2ONNX understands; version 4 (Paddle 3.3) differs, for the operators of
# these models, only in storing lists of floating-point attributes in double precision.
WRITTEN_VERSION = 1
READ_VERSIONS = range(1, 5)

_DTYPES = {"t_f32": "FP32", "t_i32": "INT32", "t_i64": "INT64", "t_bool": "BOOL", "t_f64": "FP64", "t_f16": "FP16"}


@dataclass(frozen=True, eq=False)
class Op:
    """One operator of a program; `raw` is its dict in the file."""

    raw: Json

    @cached_property
    def name(self) -> str:
        """Its type without the dialect's number: "bilinear_interp", "combine", "p" (a parameter), ..."""
        return str(self.raw["#"]).split(".")[-1]

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """The values it reads."""
        return tuple(item["%"] for item in self.raw.get("I", ()))

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The values it makes."""
        written = self.raw["O"]
        return tuple(item["%"] for item in (written if isinstance(written, list) else [written]))

    def attribute(self, name: str) -> Any:
        """Return the value of an attribute; None where it has none of that name."""
        return next((_plain(item["AT"]) for item in self.raw["A"] if item["N"] == name), None)

    @property
    def blocks(self) -> list[list[Json]]:
        """The operators of its nested blocks, as they are in the file."""
        return [block["ops"] for region in self.raw.get("regions", ()) for block in region["blocks"]]

    @property
    def parameter_name(self) -> str:
        """The name of the weight that a "p" operator stands for."""
        return str(self.raw["A"][3])


@dataclass(frozen=True)
class Program:
    """The flat list of a program's operators, with every branch replaced by its computing side.

    Paddle's exports wrap the mask painting in `if there are detections`; a cut program has none of it, and a
    recogniser that sees one flat list finds what it looks for whether or not the exporter wrapped it.
    """

    ops: tuple[Op, ...]

    @classmethod
    def read(cls, path: Path) -> Program:
        """Read an `inference.json`; half precision is read as single precision.

        Raises:
            DamagedFile: the file is not a PIR program.
            ToolError: it is of a version that is not known.
        """
        try:
            document = json.loads(path.read_bytes())
            version = document["base_code"]["version"]
            (region,) = document["program"]["regions"]
            (block,) = region["blocks"]
            operators = list(block["ops"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedFile(f"{path} is damaged, or not a Paddle program (PIR JSON): {error!r}") from error
        if version not in READ_VERSIONS:
            raise ToolError(f"{path} is a PIR program of version {version}; known are 1 to {READ_VERSIONS[-1]}")
        try:
            flat = _inline_branches(_single_precision(widen_program(operators)))
            return cls(tuple(Op(_data(raw) if raw["#"] == "1.feed" else raw) for raw in flat))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise DamagedFile(f"{path} is damaged: one of its operators is not one ({error!r})") from error

    def write(self, path: Path) -> None:
        """Write it as an `inference.json` of version 1."""
        block = {"#": "block_0", "args": [], "ops": [op.raw for op in self.ops]}
        document = {
            "base_code": {"magic": "pir", "trainable": True, "version": WRITTEN_VERSION},
            "program": {"regions": [{"#": "region_0", "blocks": [block]}]},
        }
        path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")

    @cached_property
    def _producers(self) -> dict[int, Op]:
        return {value: op for op in self.ops for value in op.outputs}

    @cached_property
    def _types(self) -> dict[int, Json]:
        written = (op.raw["O"] for op in self.ops)
        items = (item for outputs in written for item in (outputs if isinstance(outputs, list) else [outputs]))
        return {item["%"]: item["TT"] for item in items}

    def producer(self, value: int) -> Op:
        """Return the operator that makes `value`."""
        return self._producers[value]

    def shape(self, value: int) -> tuple[int, ...]:
        """Return the static shape of a tensor, -1 where it is dynamic; () for anything that is not a tensor."""
        kind = self._types[value]
        return tuple(kind["D"][1]) if kind["#"].endswith("t_dtensor") else ()

    def dtype(self, value: int) -> str:
        """Return the element type of a tensor in Triton's words: FP32, INT32, ..."""
        name = str(self._types[value]["D"][0]["#"]).split(".")[-1]
        return _DTYPES.get(name, name)

    def named(self, name: str) -> list[Op]:
        """Return all operators of a type, in the order of execution."""
        return [op for op in self.ops if op.name == name]

    def feeds(self) -> dict[str, Op]:
        """Return the inputs by their names."""
        return {str(op.attribute("name")): op for op in self.named("data")}

    def fetches(self) -> tuple[int, ...]:
        """Return the values that leave the program, in order."""
        ordered = sorted(self.named("fetch"), key=lambda op: int(op.attribute("col")))
        return tuple(op.inputs[0] for op in ordered)

    def trace(self, value: int, *, through: frozenset[str]) -> Op:
        """Walk back from `value` along first inputs while the operator is one of `through`; the first that is not."""
        op = self.producer(value)
        while op.name in through:
            op = self.producer(op.inputs[0])
        return op


def nested(ops: list[Json]) -> Iterator[Json]:
    """Yield all operators of a block and of the blocks inside it."""
    for raw in ops:
        yield raw
        for block in Op(raw).blocks:
            yield from nested(block)


def _plain(attribute: Json) -> Any:
    """Return an attribute's value without its type tags."""
    value = attribute.get("D")
    if attribute["#"].endswith("a_array"):
        return [_plain(item) for item in value or ()]
    return value


def _single_precision(ops: list[Json]) -> list[Json]:
    """Store the lists of floats in single precision, as version 1 does; later versions differ only there."""
    for raw in nested(ops):
        for attribute in raw["A"] if raw["#"] != "p" else ():
            if attribute["AT"]["#"] == "0.a_array":
                for item in attribute["AT"]["D"]:
                    item["#"] = "0.a_f32" if item["#"] == "0.a_f64" else item["#"]
    return ops


def _data(feed: Json) -> Json:
    """Return an input as PIR exports write it ("data"), from that of a translated old program ("feed")."""
    (written,) = feed["O"]
    dtype, shape, *_ = written["TT"]["D"]
    types = {"0.t_f32": "float32", "0.t_i32": "int32", "0.t_i64": "int64"}
    attributes = [
        *(item for item in feed["A"] if item["N"] == "name"),
        {"AT": {"#": "1.a_intarray", "D": shape}, "N": "shape"},
        {"AT": {"#": "1.a_dtype", "D": types[dtype["#"]]}, "N": "dtype"},
        {"AT": {"#": "1.a_place", "D": [0, 0, ""]}, "N": "place"},
    ]
    return {**feed, "#": "1.data", "A": attributes}


def _inline_branches(ops: list[Json]) -> list[Json]:
    """Replace each `if` by the longer of its two blocks: the one that computes, where the other makes empty results."""
    flat: list[Json] = []
    renamed: dict[int, int] = {}
    for raw in ops:
        op = Op(raw)
        if op.name != "if":
            flat.append(raw)
            continue
        *body, end = _inline_branches(max(op.blocks, key=len))
        flat += body
        renamed |= dict(zip(op.outputs, Op(end).inputs, strict=True))
    for raw in nested(flat) if renamed else ():
        for item in raw.get("I", ()):
            while item["%"] in renamed:
                item["%"] = renamed[item["%"]]
    return flat
