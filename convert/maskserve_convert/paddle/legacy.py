"""Translate the older program format (`inference.pdmodel`) into PIR JSON; run in a child process, as Paddle can abort.

The child's command line is `python -m maskserve_convert.paddle.legacy inference.pdmodel inference.json`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskserve_convert.paddle.builder import ProgramBuilder, i64
from maskserve_convert.paddle.damage import NOT_A_PROGRAM
from maskserve_convert.paddle.program import Op, Program


def translate(source: Path, target: Path) -> None:
    """Write the program of `source` (a ProgramDesc) to `target` (PIR JSON, version 1).

    Branches are inlined first: the translator of Paddle 3.0 refuses the side of PP-YOLOE_seg's `if` that makes the
    empty result, and readers of the JSON inline them anyway.
    """
    import paddle
    from google.protobuf.message import DecodeError
    from paddle.base.proto import framework_pb2

    paddle.enable_static()
    description = framework_pb2.ProgramDesc()
    try:
        description.ParseFromString(source.read_bytes())
    except DecodeError:
        sys.exit(NOT_A_PROGRAM)
    if not description.blocks or not any(op.type == "feed" for op in description.blocks[0].ops):
        sys.exit(NOT_A_PROGRAM)
    _inline_branches(description)
    program = paddle.base.framework.Program.parse_from_string(description.SerializeToString())
    translated = paddle.pir.translate_to_pir(program.desc)
    paddle.base.core.serialize_pir_program(translated, str(target), 1, True, False, True)
    join_sizes(Program.read(target)).write(target)


def join_sizes(program: Program) -> Program:
    """Hand every `expand` its sizes as one tensor.

    The translation hands them over one by one, some of the shape [] and some [1], on which Paddle2ONNX crashes.
    """
    extension = ProgramBuilder(program, begin=0)
    for op in program.ops:
        sizes = program.producer(op.inputs[1]) if op.name == "expand" else op
        if sizes.name == "combine" and op.name == "expand":
            inputs = [op.inputs[0], _joined(extension, program, sizes.inputs)]
            extension.append(Op({**op.raw, "I": [{"%": value} for value in inputs]}))
        else:
            extension.append(op)
    return extension.program()


def _joined(extension: ProgramBuilder, program: Program, sizes: Sequence[int]) -> int:
    """Return numbers of the shape [] or [1] as one int64 [n]."""
    numbers = [extension.cast(size, i64(*program.shape(size))) for size in sizes]
    vectors = [extension.op("reshape", [number, extension.numbers(1)], i64(1)) for number in numbers]
    return extension.concat(vectors, [i64(1)] * len(vectors), i64(len(vectors)))


def _inline_branches(description: Any) -> None:
    """Splice one side of every pair of conditional blocks of the main block into it: the one that computes.

    Paddle writes `if` as two `conditional_block`s with opposite conditions, each result joined by a `select_input`.
    The side that makes an empty result is the shorter one, and may be the true one or the false one.
    """
    main = description.blocks[0]
    ops: list[Any] = []
    inlined: set[str] = set()
    computing = _computing(description)
    for op in main.ops:
        if op.type == "conditional_block":
            body = _block(description, op)
            if body.idx not in computing:
                continue
            ops += body.ops
            known = {var.name for var in main.vars}
            main.vars.extend(var for var in body.vars if var.name not in known)
            inlined.update(_names(op.outputs, "Out"))
        elif op.type == "select_input":
            taken = next(name for name in _names(op.inputs, "X") if name in inlined)
            ops.append(_assign(op, taken))
        else:
            ops.append(op)
    copies = [type(op).FromString(op.SerializeToString()) for op in ops]
    del main.ops[:]
    main.ops.extend(copies)


def _computing(description: Any) -> set[int]:
    """Return the longer block of each pair."""
    main = description.blocks[0]
    opposite = {
        name: source
        for op in main.ops
        if op.type == "logical_not"
        for name, source in zip(_names(op.outputs, "Out"), _names(op.inputs, "X"), strict=True)
    }
    pairs: dict[str, list[Any]] = {}
    for op in main.ops:
        if op.type == "conditional_block":
            (condition,) = _names(op.inputs, "Cond")
            pairs.setdefault(opposite.get(condition, condition), []).append(_block(description, op))
    return {max(blocks, key=lambda block: len(block.ops)).idx for blocks in pairs.values()}


def _names(variables: Any, parameter: str) -> list[str]:
    return [name for item in variables if item.parameter == parameter for name in item.arguments]


def _block(description: Any, op: Any) -> Any:
    index = next(attr.block_idx for attr in op.attrs if attr.name == "sub_block")
    return description.blocks[index]


def _assign(select: Any, source: str) -> Any:
    assign = type(select)(type="assign")
    assign.inputs.add(parameter="X", arguments=[source])
    assign.outputs.add(parameter="Out", arguments=_names(select.outputs, "Out"))
    return assign


if __name__ == "__main__":
    translate(Path(sys.argv[1]), Path(sys.argv[2]))
