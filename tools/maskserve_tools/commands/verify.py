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

from maskserve.errors import ToolError

if TYPE_CHECKING:
    from maskserve_tools.verifying.comparison import Comparison
    from maskserve_tools.verifying.verification import PhotoVerdict

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
_EPILOG = """\
The same photos go through Paddle Inference on the original folder, with PaddleX's own arithmetic, and through the
server. Equal means: the same instances, scores within 0.001, boxes within 0.5 px, masks with an intersection over
union of at least 0.995 each (up to two pixels do not count), 0.999 in the median of all. The exit status is 0 when
every photo is equal, 1 when not; then the last line says what the differences come to, which for a conversion to bf16
or fp16 is what the speed costs.

example:
  maskserve verify Mask-RT-DETR-S --source Mask-RT-DETR-S_infer --photos photos/
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `verify` to the command line."""
    parser = subparsers.add_parser(
        "verify",
        help="compare a served model with Paddle on the same photos",
        description="Compare a served model with the Paddle model that it was converted from.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the model, as clients call it")
    parser.add_argument("--source", required=True, metavar="PADDLE_DIR|NAME",
                        help="the folder it came from, or the name of an official model")  # fmt: skip
    parser.add_argument("--photos", type=Path, required=True, metavar="PATH", help="a photo, or a directory of them")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), metavar="DIR",
                        help="where its entries are (default: %(default)s)")  # fmt: skip
    parser.add_argument("--url", help="a running server (default: start an embedded one on the repository)")
    parser.add_argument("--threshold", type=float, action="append", dest="thresholds", metavar="T",
                        help="compare at this score threshold; may be repeated (default: 0.5 and 0.3)")  # fmt: skip
    parser.add_argument("--ties", action="store_true",
                        help="where answers differ, ask Paddle again with one pixel changed by one level: count apart "
                        "what comes and goes with that, and say UNSTEADY where Paddle moves farther")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print a table, and say the verdict."""
    from maskserve import create_pipeline
    from maskserve_tools.verifying.verification import check_source, verify
    from maskserve_tools.zoo.fetching import source_folder

    source = source_folder(arguments.source, report=lambda line: print(line, file=sys.stderr))
    if not arguments.url:
        check_source(arguments.repository / arguments.name, source)
    photos = _photos(arguments.photos)
    verdicts = []
    console = Console(width=None if sys.stdout.isatty() else 140)
    with (
        _server(arguments) as url,
        create_pipeline(arguments.name, url=url, timeout=600) as pipeline,
        console.status("comparing") as status,
    ):
        for verdict in verify(pipeline, source, photos, arguments.thresholds or (0.5, 0.3), ties=arguments.ties):
            verdicts.append(verdict)
            status.update(f"comparing: {len(verdicts)} done, last {verdict.photo.name}")
    console.print(_table(verdicts))
    return _conclude(arguments.name, verdicts)


def _photos(path: Path) -> list[Path]:
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise ToolError(f"there are no photos at {path}")
    return found


@contextlib.contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.url:
        yield arguments.url
        return
    from maskserve_tools import serve

    with serve(arguments.repository, models=[arguments.name]) as server:
        yield server.grpc_url


def _table(verdicts: list[PhotoVerdict]) -> Table:
    table = Table(
        "photo", "threshold", "matched", "missing", "extra", "ties", "score", "box px", "IoU min", "median", ""
    )
    for verdict in verdicts:
        table.add_row(verdict.photo.name, f"{verdict.threshold:g}", *_cells(verdict))
    return table


def _cells(verdict: PhotoVerdict) -> list[str]:
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


def _conclude(name: str, verdicts: list[PhotoVerdict]) -> int:
    from maskserve_tools.verifying.comparison import all_equal

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
        print("nothing was found in any photo, so nothing is proved: choose other photos or a lower --threshold")
    return 0 if proved and instances else 1


def _cost(comparisons: Sequence[Comparison]) -> str:
    """What the differences come to, all photos together: the price of a lower precision."""
    from maskserve_tools.verifying.comparison import median_iou

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
