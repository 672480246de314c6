"""What a family's recogniser says of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from maskserve_convert.paddle.program import Program

if TYPE_CHECKING:
    import onnx_ir as ir


class OnnxBuilder(Protocol):
    """Makes an ONNX core of a program that Paddle2ONNX cannot convert."""

    def __call__(self, program: Program, parameters: Path, folder: Path) -> ir.Model:
        """Return it, in memory and before any pass.

        Args:
            program: the whole program.
            parameters: its `inference.pdiparams`.
            folder: intermediate files may be left here.
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
        classes: how many classes the program tells apart; None where its shapes do not say.
        any_size: whether the core takes images of any size, whatever size the program declares for its input.
        program: the program to cut where the recogniser had to add to it; None where that is the one it was given.
    """

    family: str
    outputs: Mapping[str, int]
    where: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    build_onnx: OnnxBuilder | None = None
    onnx_feeds: tuple[str, ...] = ()
    any_size: bool = False
    program: Program | None = None
    classes: int | None = None


class Recogniser(Protocol):
    """Finds a family's structure in a program."""

    def __call__(self, program: Program) -> CutPoints | None:
        """Return the cut points, or None where the program is of another family."""
        ...
