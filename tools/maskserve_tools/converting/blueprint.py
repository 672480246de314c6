"""What is known of a model once its program has been cut: the plan that the core and the entries are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskserve_server.families import FAMILIES
from maskserve_server.spec import CoreSpec, ModelSpec
from maskserve_tools.converting.entries import TensorType
from maskserve_tools.converting.families.base import CutPoints
from maskserve_tools.converting.families.recognise import recognise
from maskserve_tools.converting.paddle_folder import PaddleFolder
from maskserve_tools.converting.program import weights
from maskserve_tools.converting.program.cut import CutProgram, cut
from maskserve_tools.converting.program.pir import Program


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A recognised and cut model.

    Attributes:
        folder: where it comes from.
        name: what clients will call it.
        program: the whole program.
        points: its family, and where it is cut.
        piece: the part in front of the cut.
    """

    folder: PaddleFolder
    name: str
    program: Program
    points: CutPoints
    piece: CutProgram

    @classmethod
    def draw(cls, folder: PaddleFolder, name: str, program: Program) -> Blueprint:
        """Recognise a program and cut it.

        Raises:
            ToolError: it is of no known family.
        """
        points = recognise(program)
        return cls(folder, name, program, points, cut(points.program or program, points.outputs))

    @property
    def outputs(self) -> Mapping[str, TensorType]:
        """The tensors at the cut."""
        program = self.piece.program
        batch = (1,) if FAMILIES[self.points.family].batched else (-1,)
        return {
            name: TensorType(program.dtype(value), batch + program.shape(value)[1:])
            for name, value in self.points.outputs.items()
        }

    def write_piece(self, directory: Path) -> tuple[Path, Path]:
        """Write the part in front of the cut as a Paddle model, and name its two files."""
        program, parameters = directory / "core.json", directory / "core.pdiparams"
        self.piece.program.write(program)
        names = [op.parameter_name for op in self.program.named("p")]
        weights.subset(self.folder.weights, names, self.piece.parameters, parameters)
        return program, parameters

    def spec(self, engine: str, precision: str = "fp32") -> ModelSpec:
        """What the server needs to know when `engine` runs the core in `precision`."""
        image = self.piece.program.feeds()["image"].outputs[0]
        _, channels, height, width = self.piece.program.shape(image)
        core = CoreSpec(
            engine=engine,
            file="core.json" if engine == "paddle" else "core.onnx",
            inputs=self.piece.feeds if engine == "paddle" else (*self.piece.feeds, *self.points.onnx_feeds),
            outputs=tuple(self.points.outputs),
            image_shape=(channels, height, width),
            precision=precision,
        )
        return ModelSpec(
            name=self.name,
            family=self.points.family,
            settings=self.points.settings,
            preprocess=self.folder.preprocess,
            labels=self.folder.labels,
            draw_threshold=self.folder.draw_threshold,
            core=core,
        )
