"""Every model of a folder of Paddle folders, converted, served, and held against Paddle: writes docs/models.md.

Example: `python benchmarks/verify_all.py models/ --photos photos/ --output docs/models.md`

Without MODELS the fifteen official models are fetched by their names. Each photo size of `SIZES` is made from one of
the photos given. Paddle cannot answer uncut for the largest one on most machines (or, SOLOv2, not in the photo's size):
such a photo is compared with Paddle on the cut program instead, and counted in a column of its own. It takes an hour or
so: with `--results` each model's row is kept as it is done, and an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from maskserve import create_pipeline
from maskserve.pipeline import Pipeline
from maskserve_tools import convert, serve
from maskserve_tools.converting.conversion import Conversion
from maskserve_tools.verifying.comparison import Comparison, all_equal, compare, median_iou
from maskserve_tools.verifying.reference import ReferenceInstance
from maskserve_tools.verifying.verification import PhotoVerdict, verify
from maskserve_tools.zoo.catalogue import CATALOGUE
from maskserve_tools.zoo.fetching import source_folder

# Width and height; the first of each pair of photos goes through every shape that a camera or a crop gives.
SIZES = ((640, 427), (400, 300), (427, 640), (1920, 1080), (4000, 3000), (48, 36), (640, 480), (333, 500), (800, 600))
THRESHOLDS = (0.5, 0.3)
# For models that find next to nothing above those.
LOW = (0.05,)
ALL = "all"
HEADING = """\
# The models, held against Paddle

`python benchmarks/verify_all.py` wrote this table: {date}, Paddle {paddle}, {engine_versions}.

Every model went through `maskserve convert --engine {engine} --precision {precision}`, a real tritonserver and our
client; the same photos, of {sizes}, went through Paddle Inference on the original, uncut folder with PaddleX's own
arithmetic, at the thresholds {thresholds}. **Equal** is what `maskserve verify` means by it: the same instances, scores
within 0.001, boxes within 0.5 px, masks with an intersection over union of at least 0.995 each and 0.999 in the median,
where up to two pixels do not count (in a mask of 100 pixels one alone makes 0.990).
*Cut* counts the answers that uncut Paddle has not enough memory for, or (SOLOv2) paints in another size than the
photo's; they were held against Paddle on the cut program. *Ties* are instances that only one side has, but that uncut
Paddle itself loses or finds when one pixel of the photo (of a large one, a patch of a few) changes by one level.
*Unsteady* is an answer that is not equal, but whose every difference is smaller than one between uncut Paddle's answers
to such photos.

The weights have real architectures and random, calibrated values, so that the instances are many and odd, and some of
the networks amplify rounding as no trained one does. Mask-RT-DETR-X and -H: one level in one pixel, and Paddle's own
answer loses up to 31 of its 100 instances. R-CNN: a mask of 28x28 cells of noise, sampled over a box three pixels wide,
changes with a thousandth of a pixel of the box. ONNX Runtime and OpenVINO are as far from one another as each is from
Paddle: for MaskRCNN-ResNet50-vd-FPN some 2e-5 in a score and 4e-4 px in a box, in the median of eight photos, whichever
two of the three are compared.

| model | family | engine | answers | of these cut | instances | ties | score | box px | IoU min | IoU median | equal |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What came out for one model."""

    made: Conversion
    verdicts: Sequence[PhotoVerdict]
    from_cut: int

    def text(self, name: str) -> str:
        """The row of the table."""
        found = [verdict.comparison for verdict in self.verdicts if verdict.comparison is not None]
        ious = [iou for comparison in found for iou in comparison.mask_ious] or [1.0]
        equal, unsteady = (sum(getattr(comparison, kind) for comparison in found) for kind in ("equal", "unsteady"))
        cells = (
            name,
            self.made.family,
            self.made.engine,
            len(found),
            self.from_cut,
            sum(comparison.matched for comparison in found),
            sum(comparison.ties for comparison in found),
            f"{max(comparison.score for comparison in found):.0e}",
            f"{max(comparison.box for comparison in found):.3f}",
            f"{min(ious):.4f}",
            f"{median_iou(found):.4f}",
            ALL
            if all_equal(found) and len(found) == len(self.verdicts)
            else f"{equal} of {len(self.verdicts)}, {unsteady} unsteady",
        )
        return "| " + " | ".join(map(str, cells)) + " |"


def main() -> int:
    """Verify all, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="PADDLE_DIR", help="(default: the official ones)")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="a directory of photos")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--no-ties", action="store_true", help="do not ask Paddle again where answers differ: quicker")
    parser.add_argument("--output", type=Path, help="write the table here, too")
    parser.add_argument("--results", type=Path, metavar="DIR", help="keep rows here, and take them from here")
    arguments = parser.parse_args()
    folders = arguments.models or [source_folder(model.name, report=print) for model in CATALOGUE]
    rows = []
    with TemporaryDirectory() as scratch:
        photos = _photos(arguments.photos, Path(scratch))
        for folder in folders:
            kept = arguments.results and arguments.results / f"{folder.name}.md"
            if kept and kept.is_file():
                rows.append(kept.read_text())
            else:
                rows.append(_verify(folder, photos, Path(scratch) / folder.name, arguments).text(folder.name))
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_text(rows[-1])
            print(rows[-1], flush=True)
    if arguments.output:
        arguments.output.write_text(_heading(arguments) + "\n".join(rows) + "\n")
    return 0 if all(row.endswith(f"| {ALL} |") for row in rows) else 1


def _heading(arguments: argparse.Namespace) -> str:
    from importlib.metadata import version

    return HEADING.format(
        date=time.strftime("%Y-%m-%d"),
        paddle=version("paddlepaddle"),
        engine_versions=f"OpenVINO {version('openvino')}, ONNX Runtime {version('onnxruntime')}",
        engine=arguments.engine,
        precision=arguments.precision,
        sizes=", ".join(f"{width}x{height}" for width, height in SIZES),
        thresholds=" and ".join(map(str, THRESHOLDS)) + f" (and {LOW[0]} where those give nothing)",
    )


def _photos(source: Path, target: Path) -> list[Path]:
    import cv2

    found = cycle(sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")))
    made = []
    for size, photo in zip(SIZES, found, strict=False):
        path = target / f"{size[0]}x{size[1]}.png"
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(photo)), size, interpolation=cv2.INTER_AREA))
        made.append(path)
    return made


def _verify(folder: Path, photos: Sequence[Path], scratch: Path, arguments: argparse.Namespace) -> Row:
    chosen = {"engine": arguments.engine, "precision": arguments.precision}
    ties = not arguments.no_ties
    made = convert(folder, repository=scratch / "repository", name="model", layout="single", **chosen)
    with _client_of("model", scratch / "repository") as served:
        verdicts = list(verify(served, folder, photos, THRESHOLDS, ties=ties))
        if not sum(verdict.comparison.matched for verdict in verdicts if verdict.comparison is not None):
            verdicts = list(verify(served, folder, photos, LOW, ties=ties))
        unanswered = [verdict for verdict in verdicts if verdict.comparison is None]
        others = list(_against_the_cut(served, folder, scratch / "cut", unanswered)) if unanswered else []
    answered = [verdict for verdict in verdicts if verdict.comparison is not None] + others
    _tell(answered)
    return Row(made, answered, len(others))


@contextmanager
def _client_of(name: str, repository: Path) -> Iterator[Pipeline]:
    """A model of a repository, served; Paddle may take minutes for the first picture."""
    with serve(repository, ready_timeout=600) as server, create_pipeline(name, url=server.grpc_url, timeout=600) as one:
        yield one


def _against_the_cut(
    served: Pipeline, folder: Path, scratch: Path, verdicts: Sequence[PhotoVerdict]
) -> Iterator[PhotoVerdict]:
    """The same photos, held against Paddle on the cut program, which takes little memory."""
    convert(folder, repository=scratch, name="cut", layout="single", engine="paddle")
    with _client_of("cut", scratch) as paddle:
        for verdict in verdicts:
            (wanted,) = paddle.predict(verdict.photo, threshold=verdict.threshold)
            (result,) = served.predict(verdict.photo, threshold=verdict.threshold)
            columns = wanted.instances
            reference = [
                ReferenceInstance(int(label), float(score), (*map(float, box),), mask.crop())
                for label, score, box, mask in zip(
                    columns.class_ids, columns.scores, columns.boxes_xyxy, columns.masks, strict=True
                )
            ]
            found: Comparison = compare(reference, result.instances, verdict.threshold)
            yield PhotoVerdict(verdict.photo, verdict.threshold, found, verdict.problem)


def _tell(verdicts: Sequence[PhotoVerdict]) -> None:
    """The answers that are not equal, for whoever looks into them."""
    for verdict in verdicts:
        if not verdict.equal and (found := verdict.comparison):
            low = sorted(zip(found.mask_ious, found.mask_pixels, strict=True))[:3]
            print(
                f"  {verdict.photo.stem} at {verdict.threshold}: missing {found.missing}, extra {found.extra}, "
                f"score {found.score:.1e}, box {found.box:.3f}, lowest IoU and pixels {low}",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
