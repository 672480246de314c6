"""`maskserve predict`: segment pictures with a model on a server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve._files import own_name, stem
from maskserve._generations import DEFAULT, GENERATIONS, generation_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maskserve._pictures import Picture
    from maskserve.pipeline import Pipeline
    from maskserve.results import Failure, InstanceSegResult

_EPILOG = """\
examples:
  maskserve predict --pipeline Mask-RT-DETR-S --input photo.jpg --save_path out/
  maskserve predict --pipeline instance_segmentation --input photos/ --url http://gpu-box:8000 --threshold 0.3
  maskserve predict --pipeline best_model/inference --input photos/ --device cpu
  maskserve predict --pipeline Mask-RT-DETR-S --input photos/ --save_path out/ --resume
  maskserve predict --pipeline Mask-RT-DETR-S --input photos/ --ndjson | jq .boxes[].label

Each picture's instances go to standard output, one line for each picture; what went wrong goes to standard error.
The exit status is 0 when every picture was segmented, 1 when one was not, 2 when the command line makes no sense, and
130 after Ctrl-C.

A command line written for paddlex works with the name exchanged, without `predict`:
  maskserve --pipeline instance_segmentation --input photo.jpg --device cpu --save_path out/
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A picture, and where its files go: subfolders of a directory have the same subfolders there."""

    picture: Picture
    folder: Path | None

    def saved_json(self, generation: str) -> Path:
        """The JSON file that is there when the picture has been done."""
        name = stem(self.picture, own_name(self.picture), generation_named(generation))
        return (self.folder or Path()) / f"{name}.json"


@dataclass(slots=True)
class Tally:
    """How far it has come."""

    total: int
    done: int = 0
    failed: int = 0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "predict",
        help="segment pictures with a model",
        description="Segment pictures with a model on a server and print what was found.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    pipeline = "a model's name (instance_segmentation: the server's only one, or Mask-RT-DETR-S), a model's folder, or"
    add("--pipeline", required=True, metavar="NAME", help=f"{pipeline} a pipeline file")
    add("--input", required=True, nargs="+", metavar="PATH", help="image files, PDF files, directories or URLs")
    url = "the server, grpc:// or http:// (default: MASKSERVE_URL, or what grpc://localhost:8001 has, or one that is"
    add("--url", metavar="URL", help=f"{url} started for this command)")
    add("--save_path", "--save-path", type=Path, metavar="DIR", help="save pictures and JSON files there")
    add("--resume", action="store_true", help="leave out pictures whose JSON file is there already")
    add("--ndjson", action="store_true", help="print a JSON document a line, masks as COCO run lengths")
    add("--threshold", type=float, metavar="T", help="minimum score (default: the model's own)")
    add("--label", action="append", dest="labels", metavar="NAME", help="keep only this class; may be repeated")
    add("--generation", choices=sorted(GENERATIONS), default=DEFAULT, help=f"of PaddleX's names (default {DEFAULT})")
    add("--concurrency", type=int, default=4, metavar="N", help="requests under way at once (default 4)")
    add("--timeout", type=float, default=60.0, metavar="S", help="seconds for one request (default 60)")
    add("--device", metavar="D", help="what to run the model on, such as cpu, where a server is started for this")
    add("--use_hpip", action="store_true", help="accepted as PaddleX has it: the fastest engine is always taken")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment the pictures; a bad one is reported and does not stop the others.

    Raises:
        MaskserveError: the server cannot be used, or an argument makes no sense.
    """
    from maskserve import create_pipeline
    from maskserve.errors import InvalidParameter

    if args.resume and args.save_path is None:
        raise InvalidParameter("--resume looks for files under --save_path: name it")
    jobs = [job for source in args.input for job in find_jobs(source, args.save_path)]
    if args.resume:
        jobs = [job for job in jobs if not job.saved_json(args.generation).exists()]
        if not jobs:
            return 0
    pipeline = create_pipeline(
        args.pipeline,
        url=args.url,
        device=args.device,
        use_hpip=args.use_hpip,
        concurrency=args.concurrency,
        timeout=args.timeout,
        generation=args.generation,
    )
    tally = Tally(len(jobs))
    try:
        with pipeline, progress_bar(len(jobs)) as advance:
            for job, outcome in zip(jobs, _outcomes(pipeline, jobs, args), strict=True):
                tally.failed += _deliver(outcome, job.folder, ndjson=args.ndjson)
                tally.done += 1
                advance()
    except KeyboardInterrupt:
        print(f"maskserve: stopped after {tally.done} of {tally.total} pictures", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 1 if tally.failed else 0


def find_jobs(source: str, save_path: Path | None) -> Iterator[Job]:
    """The pictures of one argument, and the folders for their files."""
    from maskserve._inputs import pictures

    for picture in pictures(source):
        folder = save_path
        if folder is not None and picture.input_path and picture.input_path != source and Path(source).is_dir():
            folder = folder / Path(picture.input_path).parent.relative_to(source)
        yield Job(picture, folder)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where a person watches it and the results go elsewhere; gives what moves it on."""
    if total < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _outcomes(pipeline: Pipeline, jobs: list[Job], args: argparse.Namespace) -> Iterator[InstanceSegResult | Failure]:
    return pipeline.predict(
        [job.picture for job in jobs], threshold=args.threshold, labels=args.labels, on_error="return"
    )


def _deliver(outcome: InstanceSegResult | Failure, folder: Path | None, *, ndjson: bool) -> bool:
    """Print and save what came of a picture; True when it is a failure."""
    from maskserve import Failure

    if isinstance(outcome, Failure):
        print(f"maskserve: {outcome.error.message}", file=sys.stderr)
        return True
    if ndjson:
        print(json.dumps(outcome.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        outcome.print()
    sys.stdout.flush()
    if folder is not None:
        outcome.save_all(folder)
    return False
