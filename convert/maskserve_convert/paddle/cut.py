"""Cut a program: keep what leads to chosen values, and let those leave it under chosen names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maskserve_convert.paddle.program import Json, Op, Program, nested


@dataclass(frozen=True)
class CutProgram:
    """A program that ends at the cut.

    Attributes:
        program: the operators that are left, with one fetch for each output.
        feeds: the names of the inputs that are still needed, in the order of the original.
        parameters: the names of the weights that are still needed.
    """

    program: Program
    feeds: tuple[str, ...]
    parameters: frozenset[str]


def cut(program: Program, outputs: Mapping[str, int]) -> CutProgram:
    """Keep only what `outputs` (name to value) depend on."""
    needed = set(outputs.values())
    kept: list[Op] = []
    for op in reversed(program.ops):
        if op.name != "fetch" and needed.intersection((*op.outputs, *_appended(op))):
            kept.append(op)
            needed.update(_reads(op))
    kept.reverse()
    first_free = 1 + max(value for op in program.ops for value in _all_outputs(op))
    fetches = [
        Op(_fetch(name, column, value, first_free + column, program.producer(value)))
        for column, (name, value) in enumerate(outputs.items())
    ]
    feeds = tuple(str(op.attribute("name")) for op in kept if op.name == "data")
    parameters = frozenset(op.parameter_name for op in kept if op.name == "p")
    return CutProgram(Program((*kept, *fetches)), feeds, parameters)


def _reads(op: Op) -> Sequence[int]:
    """Return all values an operator reads, those inside its nested blocks included."""
    inner = [item["%"] for block in op.blocks for raw in nested(block) for item in raw.get("I", ())]
    return [*op.inputs, *inner]


def _appended(op: Op) -> Sequence[int]:
    """Return the arrays that its nested blocks append to: a loop's results are not among its outputs."""
    inner = [Op(raw) for block in op.blocks for raw in nested(block)]
    return [nested_op.inputs[0] for nested_op in inner if nested_op.name == "array_write_"]


def _all_outputs(op: Op) -> Sequence[int]:
    inner = [value for block in op.blocks for raw in nested(block) for value in Op(raw).outputs]
    return [*op.outputs, *inner]


def _fetch(name: str, column: int, value: int, result: int, producer: Op) -> Json:
    written = producer.raw["O"]
    items = written if isinstance(written, list) else [written]
    kind = next(item["TT"] for item in items if item["%"] == value)
    yes = {"#": "0.a_array", "D": [{"#": "0.a_bool", "D": True}]}
    return {
        "#": "1.fetch",
        "A": [{"AT": {"#": "0.a_str", "D": name}, "N": "name"}, {"AT": {"#": "0.a_i32", "D": column}, "N": "col"}],
        "I": [{"%": value}],
        "O": [{"%": result, "TT": kind}],
        "OA": [{"AT": yes, "N": "persistable"}, {"AT": yes, "N": "stop_gradient"}],
    }
