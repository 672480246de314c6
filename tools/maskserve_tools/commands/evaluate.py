"""`maskserve evaluate`: box and mask AP of a model on a COCO data set."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.paddlex.model_files import is_bundle, is_converted
from maskserve_tools.options import positive, score, seconds
from maskserve_tools.reporting import is_terminal, say
from maskserve_tools.terminal import is_unicode

if TYPE_CHECKING:
    from rich.table import Table

    from maskserve.pipeline import Pipeline
    from maskserve_tools.evaluate.dataset import Dataset
    from maskserve_tools.evaluate.evaluation import Evaluation

_REPOSITORY = Path("model_repository")
_THRESHOLD = 0.0  # precision is averaged over all recalls, so that nothing that the model finds may be left out
_STEPS = 10  # of progress, where nobody watches a bar
_EPILOG = """\
The figures are pycocotools': AP is the mean over IoU thresholds from 0.50 to 0.95, of all categories; "small" is below
32 x 32 pixels, "large" above 96 x 96; AR100 is the recall with at most 100 instances in an image. "-" stands where the
data set has nothing to judge that by. Categories are the model's classes of the same name.

examples:
  maskserve evaluate people --coco annotations/instances_val2017.json --images val2017 --category person
  maskserve evaluate Mask-RT-DETR-S --url grpc://localhost:8001 --coco val.json --json > ap.json
  maskserve evaluate best_model/inference --coco dataset/annotations/instance_val.json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model's box and mask AP on a COCO data set",
        description="Measure a model's average precision (AP) on images with COCO annotations.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    name = "an entry of the repository, a model on the server, a model's folder, a bundle (.maskserve), or a pipeline"
    add("name", metavar="NAME", help=f"{name} file; without --url it runs in this process")
    add("--coco", type=Path, required=True, metavar="FILE", help="the annotations, in COCO's format")
    add("--images", type=Path, metavar="DIR", help="where the images are (default: looked for beside the annotations)")
    add("--repository", type=Path, default=_REPOSITORY, metavar="DIR",
        help="the model repository (default: %(default)s)")  # fmt: skip
    add("--url", metavar="URL", help="a running server, grpc:// or http:// (default: MASKSERVE_URL, or no server)")
    add("--category", action="append", dest="categories", default=[], metavar="NAME",
        help="judge this category alone; may be repeated")  # fmt: skip
    add("--common", action="store_true", help="judge the categories that both have, and leave the others out")
    add("--by-order", action="store_true", help="take the categories, as the file has them, for the classes 0, 1, 2...")
    add("--threshold", type=score, default=_THRESHOLD, metavar="T",
        help="leave out what scores less; a higher one is faster, and lowers AP (default %(default)g)")  # fmt: skip
    add("--limit", type=positive, metavar="N", help="take the first N images alone")
    add("--concurrency", type=positive, default=4, metavar="N", help="requests under way at once (default 4)")
    add("--timeout", type=seconds, default=600.0, metavar="S", help="seconds for one request (default 600)")
    add("--per-category", action="store_true", help="show AP of each category in the table, too")
    add("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
        ToolError: the annotations are broken, images are missing, or the categories do not match.
        MaskserveError: the model cannot be used, or an image not be segmented.
    """
    from maskserve_tools.evaluate.classes import choose, match_by_name, match_by_order
    from maskserve_tools.evaluate.dataset import read_dataset
    from maskserve_tools.evaluate.evaluation import evaluate

    dataset = read_dataset(args.coco, args.images, limit=args.limit)
    with _pipeline(args) as pipeline:
        labels = pipeline.labels
        classes = (match_by_order if args.by_order else match_by_name)(labels, dataset)
        categories = choose(classes, dataset, labels, names=args.categories, common=args.common)
        if left_out := [name for number, name in dataset.categories.items() if number not in categories.values()]:
            say(f"{len(left_out)} of {len(dataset.categories)} categories of the annotations are not judged")
        with _progress(len(dataset.images)) as advance:
            found = evaluate(pipeline, dataset, categories, threshold=args.threshold, advance=advance)
        name = pipeline.model
    if not found.detections:
        say(f"nothing was found in any image above a score of {args.threshold:g}")
    if args.json:
        print(json.dumps(_document(name, args, dataset, found), indent=2, ensure_ascii=not is_unicode(sys.stdout)))
    else:
        _print(name, args, found)
    return 0


def _pipeline(args: argparse.Namespace) -> Pipeline:
    from maskserve import create_pipeline

    named: str | Path = args.name
    entry = args.repository / args.name
    # a bundle is known by its name alone, and its path is no entry's
    if args.url is None and not os.environ.get("MASKSERVE_URL") and not is_bundle(entry) and is_converted(entry):
        named = entry
    return create_pipeline(named, url=args.url, timeout=args.timeout, concurrency=args.concurrency)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show on standard error how far it is: a bar for a person, else a line now and then; yield what moves it on."""
    done = 0
    if not is_terminal(sys.stderr):

        def tell() -> None:
            nonlocal done
            done += 1
            if done * _STEPS // total > (done - 1) * _STEPS // total:
                say(f"{done} of {total} images")

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _document(name: str, args: argparse.Namespace, dataset: Dataset, found: Evaluation) -> dict[str, object]:
    return {
        "model": name,
        "annotations": str(args.coco),
        "images": found.images,
        "objects": found.annotations,
        "instances": found.detections,
        "threshold": args.threshold,
        "categories": list(found.categories),
        "left_out": [category for category in dataset.categories.values() if category not in found.categories],
        "seconds_per_image": round(found.seconds / found.images, 4),
        **{kind: dict(figures.all) for kind, figures in found.figures.items()},
        "by_category": {
            category: {kind: figures.by_category[category] for kind, figures in found.figures.items()}
            for category in found.categories
        },
    }


def _print(name: str, args: argparse.Namespace, found: Evaluation) -> None:
    from rich.console import Console

    console = Console(width=None if is_terminal(sys.stdout) else 140, highlight=False)
    console.print(_table(found))
    if args.per_category:
        console.print(_category_table(found))
    judged = f"{len(found.categories)} categories" if len(found.categories) > 1 else found.categories[0]
    print(
        f"{name}: {found.images} images, {found.annotations} objects ({judged}), {found.detections} instances above "
        f"{args.threshold:g}, {found.seconds / found.images:.2f} s an image"
    )


def _table(found: Evaluation) -> Table:
    from rich.table import Table

    table = Table("", *found.figures)
    for figure in next(iter(found.figures.values())).all:
        table.add_row(figure, *(_cell(figures.all[figure]) for figures in found.figures.values()))
    return table


def _category_table(found: Evaluation) -> Table:
    from rich.table import Table

    table = Table("category", *(f"{kind} AP" for kind in found.figures))
    for category in found.categories:
        table.add_row(category, *(_cell(figures.by_category[category]) for figures in found.figures.values()))
    return table


def _cell(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"
