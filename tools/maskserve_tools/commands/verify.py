"""`maskserve verify`: prove that a served model answers what Paddle answers."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from maskserve_tools.options import score

if TYPE_CHECKING:
    from maskserve_tools.verify.comparison import Comparison
    from maskserve_tools.verify.verification import ImageVerdict

_EPILOG = """\
The same images go through Paddle Inference on the original folder, with PaddleX's own arithmetic, and through the
server. Equal means: the same instances, scores within 0.001, boxes within 0.5 px, masks with an intersection over
union of at least 0.995 each (up to two pixels do not count), 0.999 in the median of all. The exit status is 0 when
every image is equal, 1 when not; then the last line says what the differences come to, which for a conversion to bf16
or fp16 is what the speed costs.

example:
  maskserve verify Mask-RT-DETR-S --source Mask-RT-DETR-S_infer --photos photos/
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `verify` to the command line."""
    parser = subparsers.add_parser(
        "verify",
        help="compare a served model with Paddle on the same images",
        description="Compare a served model with the Paddle model that it was converted from.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the model, as clients call it")
    parser.add_argument("--source", required=True, metavar="PADDLE_DIR|ARCHIVE|NAME",
                        help="the folder or archive it came from, or the name of an official model")  # fmt: skip
    parser.add_argument("--photos", type=Path, required=True, metavar="PATH", help="an image, or a directory of them")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), metavar="DIR",
                        help="where its entries are (default: %(default)s)")  # fmt: skip
    parser.add_argument("--url", help="a running server (default: start an embedded one on the repository)")
    parser.add_argument("--threshold", type=score, action="append", dest="thresholds", metavar="T",
                        help="compare at this score threshold; may be repeated (default: 0.5 and 0.3)")  # fmt: skip
    parser.add_argument("--ties", action="store_true",
                        help="where answers differ, ask Paddle again with one pixel changed by one level, and with its "
                        "whole input changed by a millionth: count apart what comes and goes with that, and say "
                        "UNSTEADY where Paddle moves farther")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print a table, and say the verdict."""
    from maskserve import create_pipeline
    from maskserve_tools.extras import need
    from maskserve_tools.given_images import given_images
    from maskserve_tools.model_source import find_source
    from maskserve_tools.models.fetching import source_folder
    from maskserve_tools.verify.verification import check_source, verify

    find_source(arguments.source, named=False)
    images = given_images(arguments.photos)
    need("maskserve verify", "convert", *(() if arguments.url else ("embedded",)))
    source = source_folder(arguments.source, report=lambda line: print(line, file=sys.stderr))
    if not arguments.url:
        check_source(arguments.repository / arguments.name, source)
    verdicts = []
    console = Console(width=None if sys.stdout.isatty() else 140)
    with (
        _server(arguments) as url,
        create_pipeline(arguments.name, url=url, timeout=600) as pipeline,
        console.status("comparing") as status,
    ):
        for verdict in verify(pipeline, source, images, arguments.thresholds or (0.5, 0.3), ties=arguments.ties):
            verdicts.append(verdict)
            status.update(f"comparing: {len(verdicts)} done, last {verdict.image.name}")
    console.print(_table(verdicts))
    if not arguments.url and _decodes_reduced(arguments.repository / arguments.name):
        print(f"{arguments.name} decodes large JPEG files to a part of their size, and Paddle all of their pixels: the "
              "differences include what that changes")  # fmt: skip
    return _conclude(arguments.name, verdicts)


def _decodes_reduced(entry: Path) -> bool:
    """Return whether the step that decodes is told to decode to a part of the size."""
    from maskserve import contract
    from maskserve_server.spec import FILE_NAME, REDUCED, ModelSpec

    folders = (entry, entry.with_name(contract.step_name(entry.name, contract.PREPROCESS)))
    found = [file.parent for folder in folders for file in sorted(folder.glob(f"*/{FILE_NAME}"))]
    return any(ModelSpec.read(version).decode == REDUCED for version in found[-1:])


@contextlib.contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.url:
        yield arguments.url
        return
    from maskserve_tools import serve

    with serve(arguments.repository, models=[arguments.name]) as server:
        yield server.grpc_url


def _table(verdicts: list[ImageVerdict]) -> Table:
    table = Table(
        "image", "threshold", "matched", "missing", "extra", "ties", "score", "box px", "IoU min", "median", ""
    )
    for verdict in verdicts:
        table.add_row(verdict.image.name, f"{verdict.threshold:g}", *_cells(verdict))
    return table


def _cells(verdict: ImageVerdict) -> list[str]:
    found = verdict.comparison
    if found is None:
        return ["-"] * 8 + [verdict.problem or ""]
    ious = found.mask_ious or (1.0,)
    return [
        str(found.matched),
        str(found.missing),
        str(found.extra),
        str(found.ties),
        f"{found.score:.1e}",
        f"{found.box:.3f}",
        f"{min(ious):.4f}",
        f"{statistics.median(ious):.4f}",
        "equal" if found.equal else "UNSTEADY" if found.unsteady else "DIFFERENT",
    ]


def _conclude(name: str, verdicts: list[ImageVerdict]) -> int:
    from maskserve_tools.verify.comparison import all_equal

    compared = [verdict for verdict in verdicts if verdict.comparison is not None]
    equal = [verdict for verdict in compared if verdict.equal]
    instances = sum(verdict.comparison.matched for verdict in compared if verdict.comparison is not None)
    print(f"{name}: {len(equal)} of {len(compared)} answers equal to Paddle's, {instances} instances compared", end="")
    unanswered = len(verdicts) - len(compared)
    print(f"; Paddle itself could not answer {unanswered}" if unanswered else "")
    comparisons = [verdict.comparison for verdict in compared if verdict.comparison is not None]
    proved = all_equal(comparisons)
    if not proved:
        print(_cost(comparisons))
    if unsteady := sum(comparison.unsteady for comparison in comparisons):
        print(f"unsteady: {unsteady}; there Paddle's own answer moves farther when one pixel changes by one level")
    if not instances:
        print("nothing was found in any image, so nothing is proved: choose other images or a lower --threshold")
    return 0 if proved and instances else 1


def _cost(comparisons: Sequence[Comparison]) -> str:
    """Return what the differences come to, all images together: the price of a lower precision."""
    from maskserve_tools.verify.comparison import median_iou

    matched, missing, extra = (
        sum(getattr(comparison, kind) for comparison in comparisons) for kind in ("matched", "missing", "extra")
    )
    ious = [iou for comparison in comparisons for iou in comparison.mask_ious] or [1.0]
    return (
        f"of Paddle's {matched + missing} instances {missing} are missing, and {extra} are there that Paddle has not; "
        f"those in both: scores differ by {max(c.score for c in comparisons):.2g} at most, "
        f"boxes by {max(c.box for c in comparisons):.2g} px, "
        f"the masks' intersection over union is {median_iou(comparisons):.4f} in the median, {min(ious):.4f} at least"
    )
