"""Splicing the branches of an older program: of each pair of blocks the one that computes, whichever side it is."""

from __future__ import annotations

from typing import Any

import pytest

from maskserve_convert.paddle.legacy import _inline_branches

pytestmark = pytest.mark.filterwarnings("ignore")  # Paddle's own, while it is imported


def _add(block: Any, kind: str, inputs: dict[str, list[str]], outputs: dict[str, list[str]]) -> Any:
    op = block.ops.add(type=kind)
    for variables, named in ((op.inputs, inputs), (op.outputs, outputs)):
        for parameter, names in named.items():
            variables.add(parameter=parameter, arguments=names)
    return op


def _branching(proto: Any, *, computing: str) -> Any:
    """if condition: ... else: ..., of which the side called `computing` has two operators and the other one."""
    program = proto.ProgramDesc()
    blocks = [program.blocks.add(idx=index, parent_idx=-1 if index == 0 else 0) for index in range(3)]
    main = blocks[0]
    _add(main, "logical_not", {"X": ["condition"]}, {"Out": ["opposite"]})
    for index, (condition, side) in enumerate({"condition": "true", "opposite": "false"}.items(), 1):
        for _ in range(1 + (side == computing)):
            _add(blocks[index], "relu" if side == computing else "fill_constant", {}, {"Out": [side]})
        block = _add(main, "conditional_block", {"Cond": [condition]}, {"Out": [side]})
        block.attrs.add(name="sub_block", type=proto.AttrType.BLOCK, block_idx=index)
    _add(main, "select_input", {"X": ["false", "true"]}, {"Out": ["result"]})
    return program


@pytest.mark.parametrize("computing", ["true", "false"])
def test_the_side_that_computes_is_spliced_in(computing: str) -> None:
    proto = pytest.importorskip("paddle.base.proto.framework_pb2", reason="it needs Paddle", exc_type=ImportError)
    program = _branching(proto, computing=computing)
    _inline_branches(program)
    ops = program.blocks[0].ops
    assert [op.type for op in ops] == ["logical_not", "relu", "relu", "assign"]
    assert list(ops[-1].inputs[0].arguments) == [computing]
    assert list(ops[-1].outputs[0].arguments) == ["result"]
