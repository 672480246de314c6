"""`maskserve batch`: segment very many photos, on one machine or a Ray cluster."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskserve_tools.bulk.reading import Listing
    from maskserve_tools.bulk.resuming import Remainder
    from maskserve_tools.bulk.segmenting import Job

_EPILOG = """\
examples:
  maskserve batch photos/ --to out/ --pipeline Mask-RT-DETR-S --url grpc://gpu-box:8001 --workers 2
  maskserve batch 'photos/2024-*/' album.parquet --to out/ --embedded best_model/inference
  maskserve batch photos/ --to out/ --embedded best_model/inference --retry-errors
  maskserve batch s.parquet --to out/ --format ndjson --url grpc://a:8001 --url grpc://b:8001 --cluster head:6379

The same command goes on where it was stopped, however it was stopped. The exit status is 0 when every photo has
instances (or none to find), 1 when the rows of some have an error or the run failed, 2 when the command line makes no
sense, and 130 after Ctrl-C.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "batch",
        help="segment very many photos into Parquet or NDJSON files, with Ray",
        description="Segment photos with Ray Data's workers into files with a row for each photo.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="directories, patterns, image files, URLs, Parquet files")
    add("--to", required=True, type=Path, metavar="OUT", help="the folder for the files; the same one to go on")
    add("--format", choices=("parquet", "ndjson"), default="parquet", help="of the files (default %(default)s)")
    server = parser.add_mutually_exclusive_group()
    urls = "a server (default: MASKSERVE_URL); may be repeated, and the work is spread over them"
    server.add_argument("--url", action="append", dest="urls", metavar="URL", help=urls)
    embedded = "start a server for each worker, with the model of a Paddle folder, or an official one of this name"
    server.add_argument("--embedded", metavar="MODEL", help=embedded)
    add("--pipeline", default="instance_segmentation", metavar="NAME", help="the model's name (default: the only one)")
    add("--workers", type=_positive, default=1, metavar="N", help="processes at work (default 1)")
    add("--cluster", metavar="ADDRESS", help="a Ray cluster to work on, such as head:6379 (default: this machine)")
    add("--concurrency", type=_positive, default=4, metavar="N", help="requests under way per worker (default 4)")
    add("--timeout", type=float, default=60.0, metavar="S", help="seconds for one request (default 60)")
    add("--threshold", type=float, metavar="T", help="minimum score (default: the model's own)")
    add("--label", action="append", dest="labels", metavar="NAME", help="keep only this class; may be repeated")
    add("--image-column", default="image", metavar="C", help="Parquet column of encoded images (default image)")
    add("--path-column", default="path", metavar="C", help="Parquet column of paths (default path)")
    add("--retry-errors", action="store_true", help="do photos again whose row has an error")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment what is left of the photos.

    Raises:
        MaskserveError: a source or an argument makes no sense, or the run cannot go on.
    """
    from maskserve_tools.bulk.reading import find_photos
    from maskserve_tools.bulk.resuming import agreed_layout, claimed, remainder, remove_scratch
    from maskserve_tools.bulk.running import check_installed
    from maskserve_tools.bulk.shards import Layout

    job = job_for(args)
    check_installed()
    listing = find_photos(args.sources, job.columns, leave_out=args.to)
    folder = Path(job.folder)
    with claimed(folder):
        remove_scratch(folder)
        layout = agreed_layout(folder, _made_with(job), Layout.fitting(listing, args.workers))
        left = remainder(folder, job.format, layout.shards(listing), retry_errors=args.retry_errors)
        return _work_off(job, listing, left, args)


def job_for(args: argparse.Namespace) -> Job:
    """What the workers have to know.

    Raises:
        InvalidParameter: no server is named, or an argument makes no sense.
    """
    from maskserve._segmenter import checked_threshold
    from maskserve.errors import InvalidParameter
    from maskserve_tools.bulk.reading import Columns
    from maskserve_tools.bulk.segmenting import Job

    urls = () if args.embedded else tuple(args.urls or filter(None, [os.environ.get("MASKSERVE_URL")]))
    if not urls and not args.embedded:
        raise InvalidParameter("no server: name it with --url or MASKSERVE_URL, or start one with --embedded MODEL")
    if not args.timeout > 0:
        raise InvalidParameter(f"--timeout {args.timeout} is not a number of seconds")
    embedded = args.embedded
    return Job(
        folder=os.path.abspath(args.to),
        format=args.format,
        columns=Columns(args.image_column, args.path_column),
        pipeline=args.pipeline,
        urls=urls,
        embedded=os.path.abspath(embedded) if embedded and os.path.isdir(embedded) else embedded,
        threshold=checked_threshold(args.threshold),
        labels=tuple(args.labels) if args.labels else None,
        concurrency=args.concurrency,
        timeout=args.timeout,
    )


def _made_with(job: Job) -> dict[str, object]:
    labels = sorted(job.labels) if job.labels else None
    return {"format": job.format, "model": job.embedded or job.pipeline, "threshold": job.threshold, "labels": labels}


def _work_off(job: Job, listing: Listing, left: Remainder, args: argparse.Namespace) -> int:
    from maskserve_tools.bulk.running import Progress, cluster, reports

    _say(f"{len(listing)} photos, {left.done} done before, {left.todo} to do in {len(left.shards)} files")
    progress = Progress(left.todo, left.done, left.failed, *_line())
    try:
        if left.shards:
            with cluster(args.cluster, args.workers):
                for report in reports(job, left.shards, args.workers):
                    progress.add(report)
    finally:
        _say(f"{job.folder} has {left.done + progress.done} of {len(listing)} photos; this run: {progress}")
    return 1 if progress.failed else 0


def _line() -> tuple[Callable[[str], None], float]:
    """How a line of progress is printed, and the seconds between two: over the last one where a person watches."""
    if sys.stderr.isatty():
        return lambda line: print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True), 0.5
    return _say, 10.0


def _say(line: str) -> None:
    over = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{over}maskserve: {line}", file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return number
