"""What is known of a model once its program has been cut: the plan that the core and the entries are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from maskserve_convert.families.base import CutPoints
from maskserve_convert.families.recognise import recognise
from maskserve_convert.int8.calibration import Calibration
from maskserve_convert.paddle import weights
from maskserve_convert.paddle.cut import CutProgram, cut
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.paddle.program import Program
from maskserve_convert.triton.entries import TensorType
from maskserve_convert.triton.sizing import Wanted
from maskserve_server.engine_table import PADDLE_FILES, engine_called
from maskserve_server.families import FAMILIES
from maskserve_server.spec import FULL, CoreSpec, ModelSpec, Queue


@dataclass(frozen=True, slots=True)
class RecognisedModel:
    """A recognised and cut model.

    Attributes:
        folder: where it comes from.
        name: what clients will call it.
        program: the whole program.
        points: its family, and where it is cut.
        subgraph: the part in front of the cut.
        queue: how many requests a server takes in; None sizes the queue by what an image takes.
        size: the instances and threads that its entries say; None leaves them to whoever serves it.
        decode: how JPEG files are decoded, see `ModelSpec`.
        calibration: the images that int8 is calibrated on; None for another precision.
    """

    folder: PaddleFolder
    name: str
    program: Program
    points: CutPoints
    subgraph: CutProgram
    queue: int | None = None
    size: Wanted = field(default_factory=Wanted)
    decode: str = FULL
    calibration: Calibration | None = None

    @classmethod
    def recognise(cls, folder: PaddleFolder, name: str, program: Program) -> RecognisedModel:
        """Recognise a program and cut it.

        Raises:
            ToolError: it is of no known family.
        """
        points = recognise(program)
        return cls(folder, name, program, points, cut(points.program or program, points.outputs))

    @property
    def outputs(self) -> Mapping[str, TensorType]:
        """The tensors at the cut."""
        program = self.subgraph.program
        batch = (1,) if FAMILIES[self.points.family].batched else (-1,)
        return {
            name: TensorType(program.dtype(value), batch + program.shape(value)[1:])
            for name, value in self.points.outputs.items()
        }

    @property
    def classes(self) -> int | None:
        """How many classes the program tells apart; None where its shapes do not say."""
        found = self.points.classes
        return found if found is not None and found > 0 else None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width that the program reads, -1 where it takes any."""
        image = self.subgraph.program.feeds()["image"].outputs[0]
        _, channels, height, width = self.subgraph.program.shape(image)
        return channels, height, width

    def write_subgraph(self, directory: Path) -> tuple[Path, Path]:
        """Write the part in front of the cut as a Paddle model, and name its two files."""
        program, parameters = (directory / name for name in PADDLE_FILES)
        self.subgraph.program.write(program)
        names = [op.parameter_name for op in self.program.named("p")]
        weights.subset(self.folder.weights, names, self.subgraph.parameters, parameters)
        return program, parameters

    def spec(self, engine: str, precision: str = "fp32", seconds_per_image: float = 0.0) -> ModelSpec:
        """Return what the server needs to know when `engine` runs the core in `precision`, and needs so long for it."""
        channels, *size = self.image_shape
        height, width = (-1, -1) if self.points.any_size else size
        row = engine_called(engine)
        core = CoreSpec(
            engine=engine,
            file=row.files[0],
            inputs=(*self.subgraph.feeds, *self.points.onnx_feeds) if row.reads_onnx else self.subgraph.feeds,
            outputs=tuple(self.points.outputs),
            image_shape=(channels, height, width),
            precision=precision,
        )
        queue = Queue.sized(seconds_per_image)
        return ModelSpec(
            name=self.name,
            family=self.points.family,
            settings=self.points.settings,
            preprocess=self.folder.preprocess,
            labels=self.folder.labels,
            draw_threshold=self.folder.draw_threshold,
            core=core,
            classes=self.classes,
            queue=queue if self.queue is None else replace(queue, size=self.queue),
            decode=self.decode,
        )
