"""What a family's recogniser says of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from maskserve_tools.converting.program.pir import Program


class OnnxBuilder(Protocol):
    """Makes an ONNX core of a program that Paddle2ONNX cannot convert."""

    def __call__(self, program: Program, parameters: Path, target: Path, *, exact: bool) -> None:
        """Write it.

        Args:
            program: the whole program.
            parameters: its `inference.pdiparams`.
            target: the file to write; others may be left beside it.
            exact: whether it will be computed in true float32 on a CPU.
        """
        ...


@dataclass(frozen=True, slots=True)
class CutPoints:
    """Where to cut a program, and what the postprocessing has to know of the part that is cut off.

    Attributes:
        family: a key of `maskserve_server.families.FAMILIES`.
        outputs: the values at the cut by the names that the family gives them.
        settings: the family's keyword arguments.
        where: the cut, in words, for the provenance record.
        build_onnx: how the ONNX core is made where Paddle2ONNX cannot convert the cut program. None where it can.
        onnx_feeds: the inputs that such an ONNX core has besides those of the cut program.
        program: the program to cut where the recogniser had to add to it; None where that is the one it was given.
    """

    family: str
    outputs: Mapping[str, int]
    where: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    build_onnx: OnnxBuilder | None = None
    onnx_feeds: tuple[str, ...] = ()
    program: Program | None = None


class Recogniser(Protocol):
    """Finds a family's structure in a program."""

    def __call__(self, program: Program) -> CutPoints | None:
        """The cut points, or None where the program is of another family."""
        ...
