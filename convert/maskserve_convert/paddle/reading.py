"""Read the program of a Paddle folder, of either format, and make sure that both of its files are whole.

A damaged file is found here, once. Otherwise each engine would fail on it in its own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_convert.child import ChildFailed, run_module
from maskserve_convert.paddle import weights
from maskserve_convert.paddle.damage import NOT_A_PROGRAM, DamagedFile
from maskserve_convert.paddle.program import Op, Program, nested

_EXPORT_AGAIN = "copy the folder anew or export the model again"


def read_program(path: Path, parameters: Path, scratch: Path) -> Program:
    """Read a program, and hold its weights against it.

    Args:
        path: an `inference.json` or `inference.pdmodel`.
        parameters: its `inference.pdiparams`.
        scratch: a directory to work in.

    Raises:
        DamagedFile: one of the files is not what it should be; the message names it.
        ToolError: Paddle cannot read the program, or the file system one of the files.
    """
    with _readable(path):
        if not path.stat().st_size:
            raise DamagedFile(f"{path} is empty: {_EXPORT_AGAIN}")
        program = Program.read(path) if path.suffix == ".json" else _translated(path, scratch / "translated.json")
        _validate(program, path)
    with _readable(parameters):
        weights.check(parameters, {op.parameter_name: program.shape(op.outputs[0]) for op in program.named("p")})
    return program


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolError(f"{path} cannot be read: {error.strerror or error}") from error


def _translated(path: Path, target: Path) -> Program:
    """Return the program of an older format, translated by Paddle in a process that it may abort."""
    try:
        run_module("maskserve_convert.paddle.legacy", [str(path), str(target)])
    except ChildFailed as error:
        if error.exit_status == NOT_A_PROGRAM:
            raise DamagedFile(f"{path} is damaged, or not a Paddle program (.pdmodel): {_EXPORT_AGAIN}") from error
        raise ToolError(f"Paddle cannot read {path}; it may be damaged: {error.message}") from error
    return Program.read(target)


def _validate(program: Program, path: Path) -> None:
    """Make sure that every operator has what an operator has, and that every value is made before it is read.

    Raises:
        DamagedFile: it is otherwise.
    """
    made = {0}  # an optional operand that is not there
    for number, op in enumerate(program.ops):
        try:
            _touch(program, op)
            complete = made.issuperset(op.inputs)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise DamagedFile(f"{path} is damaged: its operator {number} is not one ({error!r})") from error
        if not complete:
            raise DamagedFile(f"{path} is damaged: its operator {number} ({op.name}) reads what no operator makes")
        made.update(op.outputs)
    if not program.feeds() or not program.named("fetch"):
        raise DamagedFile(f"{path} is damaged, or not an exported model: its program has no inputs or no results")


def _touch(program: Program, op: Op) -> None:
    """Read of an operator all that is ever asked for."""
    for value in op.outputs:
        program.shape(value)
    if op.name == "p":
        _ = op.parameter_name
        return
    for raw in nested([op.raw]):
        inner = Op(raw)
        _ = inner.name, inner.inputs, inner.outputs, inner.attribute("")
