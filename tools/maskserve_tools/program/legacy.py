"""Translate the older program format (`inference.pdmodel`) into PIR JSON; run in a child process, as Paddle can abort.

The child's command line is `python -m maskserve_tools.program.legacy inference.pdmodel inference.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def translate(source: Path, target: Path) -> None:
    """Write the program of `source` (a ProgramDesc) to `target` (PIR JSON, version 1).

    Branches are inlined first: the translator of Paddle 3.0 refuses the side of PP-YOLOE_seg's `if` that makes the
    empty result, and readers of the JSON inline them anyway.
    """
    import paddle
    from paddle.base.proto import framework_pb2

    paddle.enable_static()
    description = framework_pb2.ProgramDesc()
    description.ParseFromString(source.read_bytes())
    _inline_branches(description)
    program = paddle.base.framework.Program.parse_from_string(description.SerializeToString())
    translated = paddle.pir.translate_to_pir(program.desc)
    paddle.base.core.serialize_pir_program(translated, str(target), 1, True, False, True)


def _inline_branches(description: Any) -> None:
    """Splice the computing side of every conditional block of the main block into it.

    Paddle writes `if` as two `conditional_block`s with opposite conditions, each result joined by a `select_input`
    whose second operand is the true side's.
    """
    main = description.blocks[0]
    ops: list[Any] = []
    inlined: set[str] = set()
    for op in main.ops:
        if op.type == "conditional_block":
            if _negated(main, op):
                continue
            body = _block(description, op)
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


def _names(variables: Any, parameter: str) -> list[str]:
    return [name for item in variables if item.parameter == parameter for name in item.arguments]


def _block(description: Any, op: Any) -> Any:
    index = next(attr.block_idx for attr in op.attrs if attr.name == "sub_block")
    return description.blocks[index]


def _negated(main: Any, op: Any) -> bool:
    (condition,) = _names(op.inputs, "Cond")
    return any(other.type == "logical_not" and condition in _names(other.outputs, "Out") for other in main.ops)


def _assign(select: Any, source: str) -> Any:
    assign = type(select)(type="assign")
    assign.inputs.add(parameter="X", arguments=[source])
    assign.outputs.add(parameter="Out", arguments=_names(select.outputs, "Out"))
    return assign


if __name__ == "__main__":
    translate(Path(sys.argv[1]), Path(sys.argv[2]))
