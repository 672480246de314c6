"""Every model of a folder of Paddle folders, converted, served, and compared with Paddle: writes docs/models.md.

Example: `python benchmarks/verify_all.py noise/* --well-conditioned good/* --photos photos/ --output docs/models.md`

There are two tables: the models of `--well-conditioned` (`python -m tests.models.make_models OUT --well-conditioned`),
and below it the stress test, the others. Without any the fifteen official models are fetched by their names. Each image
size of `SIZES` is made from one of the images given. Paddle cannot answer uncut for the largest one on most machines
(or, SOLOv2, not in the image's size): such an image is compared with Paddle on the cut program instead, and counted in
a column of its own. It takes an hour or so: with `--results` each model's row is kept as it is done, and an interrupted
run goes on where it was.
"""

from __future__ import annotations

import argparse
import re
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
from maskserve_convert.catalogue import CATALOGUE
from maskserve_convert.conversion import Conversion
from maskserve_tools import convert, serve
from maskserve_tools.models.fetching import source_folder
from maskserve_tools.verify.comparison import Comparison, all_equal, compare, median_iou
from maskserve_tools.verify.reference import ReferenceInstance
from maskserve_tools.verify.verification import ImageVerdict, verify

# Width and height; the first of each pair of images goes through every shape that a camera or a crop gives.
SIZES = ((640, 427), (400, 300), (427, 640), (1920, 1080), (4000, 3000), (48, 36), (640, 480), (333, 500), (800, 600))
THRESHOLDS = (0.5, 0.3)
# Asked for, too, where a model finds fewer instances than `FEW` in an image above the lowest of those, in the mean.
LOW, FEW = 0.05, 10
ALL = "all"
HEADING = """\
# Models, compared with Paddle

`python benchmarks/verify_all.py` wrote this table: {date}, Paddle {paddle}, {engine_versions}.

Every model went through `maskserve convert --engine {engine} --precision {precision}`, a real tritonserver and our
client. The same images, of {sizes}, went through Paddle Inference on the original, uncut folder, with PaddleX's own
arithmetic. The thresholds are {thresholds}.

- **Equal** means what `maskserve verify` means: the same instances, scores within 0.001, boxes within 0.5 px, masks
  with an intersection over union of at least 0.995 each and 0.999 in the median. Up to two pixels of a mask do not
  count, because in a mask of 100 pixels a single one makes 0.990.
- **Cut** counts answers that are compared with Paddle on the cut program. For these, uncut Paddle has not enough
  memory, or (SOLOv2) it paints in another size than the image's.
- **Ties** are instances that only one side finds, and that uncut Paddle itself gains or loses when one pixel of the
  image changes by one level (in a large image, a patch of a few pixels), or when every value of its input changes by a
  millionth, which is what the rounding of another engine amounts to.
- **Unsteady** answers are not equal, but no further from Paddle than uncut Paddle is from itself after such a change.
"""
WELL_CONDITIONED = """
## Well-conditioned weights

The architectures are real. `python -m tests.models.make_models --well-conditioned` makes the weights from seeds, by
the rules of `tests/models/conditioning.py`. Like trained weights, they do not amplify rounding, and scores are
distinct. A difference here is a fault of maskserve, unless it is a tie.

"""
STRESS = """
## Stress test: random weights

The architectures are real. The weights are random, with calibrated values. There are many instances, with odd shapes,
and some of these networks amplify rounding more than any trained network does.

- **Mask-RT-DETR-X and -H**: when one pixel changes by one level, Paddle's own answer loses up to 31 of its 100
  instances.
- **R-CNN**: a mask is 28x28 cells of noise. Sampled over a box three pixels wide, it changes with a thousandth of a
  pixel of the box.
- **Engines**: ONNX Runtime and OpenVINO are as far from each other as each is from Paddle. For
  MaskRCNN-ResNet50-vd-FPN this is about 2e-5 in a score and 4e-4 px in a box, in the median of eight images, for any
  two of the three.
- **PP-YOLOE_seg-S**: on some images all 300 scores are exactly 1.0, so that nothing decides which of two overlapping
  boxes suppresses the other. On four images of COCO and HRNet 14 of 18 answers are equal.

"""
OFFICIAL = """
## Official weights

"""
COLUMNS = """\
| model | family | engine | answers | of these cut | instances | ties | score | box px | IoU min | IoU median | equal |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What came out for one model."""

    made: Conversion
    verdicts: Sequence[ImageVerdict]
    from_cut: int

    def text(self, name: str) -> str:
        """Return the row of the table."""
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
    parser.add_argument(
        "models", nargs="*", type=Path, metavar="PADDLE_DIR", help="the stress test, or the official models"
    )
    parser.add_argument(
        "--well-conditioned", nargs="+", type=Path, default=[], metavar="PADDLE_DIR", help="for a first table"
    )
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="a directory of images")
    parser.add_argument("--sizes", nargs="+", type=_size, default=SIZES, metavar="WxH", help="default: nine sizes")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--no-ties", action="store_true", help="do not ask Paddle again where answers differ: quicker")
    parser.add_argument("--output", type=Path, help="write the table here, too")
    parser.add_argument("--results", type=Path, metavar="DIR", help="keep rows here, and take them from here")
    arguments = parser.parse_args()
    other = STRESS
    if not arguments.models and not arguments.well_conditioned:
        arguments.models, other = [source_folder(model.name, report=print) for model in CATALOGUE], OFFICIAL
    with TemporaryDirectory() as scratch:
        images = _images(arguments.photos, arguments.sizes, Path(scratch))
        good = list(_rows(arguments.well_conditioned, "well-conditioned", images, Path(scratch), arguments))
        noise = list(_rows(arguments.models, "stress", images, Path(scratch), arguments))
    if arguments.output:
        tables = [
            text + COLUMNS + "\n".join(rows) + "\n" for text, rows in ((WELL_CONDITIONED, good), (other, noise)) if rows
        ]
        text = _heading(arguments) + "".join(tables) + sections_of_others(arguments.output)
        arguments.output.write_text(text, encoding="utf-8")
    return 0 if all(row.endswith(f"| {ALL} |") for row in good + noise) else 1


def _rows(
    folders: Sequence[Path], group: str, images: Sequence[Path], scratch: Path, arguments: argparse.Namespace
) -> Iterator[str]:
    """Yield a row for each model; rows of an earlier run are taken from `--results`."""
    for folder in folders:
        kept = arguments.results and arguments.results / group / f"{folder.name}.md"
        if kept and kept.is_file():
            row = kept.read_text(encoding="utf-8")
        else:
            row = _verify(folder, images, scratch / group / folder.name, arguments).text(folder.name)
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(row, encoding="utf-8")
        print(row, flush=True)
        yield row


def _heading(arguments: argparse.Namespace) -> str:
    from importlib.metadata import version

    return HEADING.format(
        date=time.strftime("%Y-%m-%d"),
        paddle=version("paddlepaddle"),
        engine_versions=f"OpenVINO {version('openvino')}, ONNX Runtime {version('onnxruntime')}",
        engine=arguments.engine,
        precision=arguments.precision,
        sizes=", ".join(f"{width}x{height}" for width, height in arguments.sizes),
        thresholds=" and ".join(map(str, THRESHOLDS)) + f" (and {LOW} where those give none or few)",
    )


def sections_of_others(document: Path) -> str:
    """Return what stands in a document behind the sections that are written here; nothing where there is no file."""
    text = document.read_text(encoding="utf-8") if document.is_file() else ""
    ours = "|".join(re.escape(section.strip().splitlines()[0]) for section in (WELL_CONDITIONED, STRESS, OFFICIAL))
    found = re.search(rf"^(?!({ours})$)(## |<!-- )", text, re.MULTILINE)
    return f"\n{text[found.start() :]}" if found else ""


def _size(text: str) -> tuple[int, int]:
    """Return width and height of a size such as 640x480."""
    width, height = map(int, text.split("x"))
    return width, height


def _images(source: Path, sizes: Sequence[tuple[int, int]], target: Path) -> list[Path]:
    import cv2

    found = cycle(sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")))
    made = []
    for size, image in zip(sizes, found, strict=False):
        path = target / f"{size[0]}x{size[1]}.png"
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(image)), size, interpolation=cv2.INTER_AREA))
        made.append(path)
    return made


def _verify(folder: Path, images: Sequence[Path], scratch: Path, arguments: argparse.Namespace) -> Row:
    chosen = {"engine": arguments.engine, "precision": arguments.precision}
    ties = not arguments.no_ties
    made = convert(folder, repository=scratch / "repository", name="model", layout="single", **chosen)
    with _client_of("model", scratch / "repository") as served:
        verdicts = _of_enough(list(verify(served, folder, images, (*THRESHOLDS, LOW), ties=ties)))
        unanswered = [verdict for verdict in verdicts if verdict.comparison is None]
        others = list(_against_the_cut(served, folder, scratch / "cut", unanswered)) if unanswered else []
    answered = [verdict for verdict in verdicts if verdict.comparison is not None] + others
    _tell(answered)
    return Row(made, answered, len(others))


def _of_enough(verdicts: Sequence[ImageVerdict]) -> list[ImageVerdict]:
    """Return the verdicts at the usual thresholds; where these find few instances, those at the low one with them."""
    usual = [verdict for verdict in verdicts if verdict.threshold != LOW]
    found = [one.comparison.matched for one in usual if one.comparison and one.threshold == min(THRESHOLDS)]
    return usual if sum(found) >= FEW * len(found) > 0 else list(verdicts)


@contextmanager
def _client_of(name: str, repository: Path) -> Iterator[Pipeline]:
    """Serve a model of a repository; Paddle may take minutes for the first image."""
    with serve(repository, ready_timeout=600) as server, create_pipeline(name, url=server.grpc_url, timeout=600) as one:
        yield one


def _against_the_cut(
    served: Pipeline, folder: Path, scratch: Path, verdicts: Sequence[ImageVerdict]
) -> Iterator[ImageVerdict]:
    """Compare the same images with Paddle on the cut program, which takes little memory."""
    convert(folder, repository=scratch, name="cut", layout="single", engine="paddle")
    with _client_of("cut", scratch) as paddle:
        for verdict in verdicts:
            (wanted,) = paddle.predict(verdict.image, threshold=verdict.threshold)
            (result,) = served.predict(verdict.image, threshold=verdict.threshold)
            columns = wanted.instances
            reference = [
                ReferenceInstance(
                    int(label), float(score), (float(box[0]), float(box[1]), float(box[2]), float(box[3])), mask.crop()
                )
                for label, score, box, mask in zip(
                    columns.class_ids, columns.scores, columns.boxes_xyxy, columns.masks, strict=True
                )
            ]
            found: Comparison = compare(reference, result.instances, verdict.threshold)
            yield ImageVerdict(verdict.image, verdict.threshold, found, verdict.problem)


def _tell(verdicts: Sequence[ImageVerdict]) -> None:
    """Write the answers that are not equal, for whoever looks into them."""
    for verdict in verdicts:
        if not verdict.equal and (found := verdict.comparison):
            low = sorted(zip(found.mask_ious, found.mask_pixels, strict=True))[:3]
            print(
                f"  {verdict.image.stem} at {verdict.threshold}: missing {found.missing}, extra {found.extra}, "
                f"score {found.score:.1e}, box {found.box:.3f}, lowest IoU and pixels {low}",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
