"""`maskserve batch`: segment very many images, on one machine or a Ray cluster."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve_tools.options import positive, score, seconds
from maskserve_tools.reporting import is_terminal, say, write_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskserve_tools.batch.reading import Listing
    from maskserve_tools.batch.resuming import Remainder
    from maskserve_tools.batch.segmenting import Job

_OVER = "\r\x1b[K"  # back to the start of the line, and nothing left of it

_EPILOG = """\
examples:
  maskserve batch photos/ --to out/ --pipeline Mask-RT-DETR-S --url grpc://gpu-box:8001 --workers 2
  maskserve batch 'photos/2024-*/' album.parquet --to out/ --model best_model/inference
  maskserve batch photos/ --to out/ --model best_model/inference --retry-errors
  maskserve batch s.parquet --to out/ --format ndjson --url grpc://a:8001 --url grpc://b:8001 --cluster head:6379

The same command goes on where it was stopped, however it was stopped. The exit status is 0 when every image has
instances (or none to find), 1 when some have an error, were not saved or not found, or the run failed, 2 when the
command line makes no sense, and 130 after Ctrl-C.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "batch",
        help="segment very many images into Parquet or NDJSON files, with Ray",
        description="Segment images with Ray Data's workers into files with a row for each image.",
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
    model = "load this model into each worker, without a server: a bundle, a Paddle folder or archive, an entry of a"
    server.add_argument("--model", "--embedded", metavar="MODEL", help=f"{model} repository, or an official name")
    add("--pipeline", default="instance_segmentation", metavar="NAME", help="the model's name (default: the only one)")
    add("--workers", type=positive, default=1, metavar="N", help="processes at work (default 1)")
    add("--cluster", metavar="ADDRESS", help="a Ray cluster to work on, such as head:6379 (default: this machine)")
    add("--concurrency", type=positive, default=4, metavar="N", help="requests under way per worker (default 4)")
    add("--timeout", type=seconds, default=60.0, metavar="S", help="seconds for one request (default 60)")
    add("--threshold", type=score, metavar="T", help="minimum score, from 0 to 1 (default: the model's own)")
    add("--label", action="append", dest="labels", metavar="NAME", help="keep only this class; may be repeated")
    add("--image-column", default="image", metavar="C", help="Parquet column of encoded images (default image)")
    add("--path-column", default="path", metavar="C", help="Parquet column of paths (default path)")
    add("--retry-errors", action="store_true", help="do images again whose row has an error")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment what is left of the images.

    Raises:
        MaskserveError: a source or an argument makes no sense, or the run cannot go on.
    """
    from maskserve_tools.batch.reading import find_images
    from maskserve_tools.batch.resuming import agreed_layout, claimed, remainder, remove_scratch
    from maskserve_tools.batch.run import check_installed
    from maskserve_tools.batch.shards import Layout

    job = job_for(args)
    _check_model(args.model)
    check_installed()
    listing = find_images(args.sources, job.columns, leave_out=args.to)
    folder = Path(job.folder)
    with claimed(folder):
        remove_scratch(folder)
        layout = agreed_layout(folder, _made_with(job), Layout.fitting(listing, args.workers))
        left = remainder(folder, job.format, layout.shards(listing), retry_errors=args.retry_errors)
        return _work_off(job, listing, left, args)


def _check_model(model: str | None) -> None:
    """Make sure that there is such a model, and all extras that the run needs.

    Raises:
        ToolError: there is not.
    """
    from maskserve_tools.extras import need
    from maskserve_tools.model_source import Kind, find_source

    here: tuple[str, ...] = ()
    if model is not None:
        here = ("convert", "local") if find_source(model).kind is Kind.PADDLE else ("local",)
    need("maskserve batch", "batch", *here)


def job_for(args: argparse.Namespace) -> Job:
    """Return what the workers have to know.

    Raises:
        InvalidParameter: no server is named, or an argument makes no sense.
    """
    from maskserve.errors import InvalidParameter
    from maskserve_local.cpus import thread_count
    from maskserve_tools.batch.reading import Columns
    from maskserve_tools.batch.segmenting import Job

    urls = () if args.model else tuple(args.urls or filter(None, [os.environ.get("MASKSERVE_URL")]))
    if not urls and not args.model:
        raise InvalidParameter("name a server with --url or MASKSERVE_URL, or a model for the workers with --model")
    model = args.model
    return Job(
        folder=os.path.abspath(args.to),
        format=args.format,
        columns=Columns(args.image_column, args.path_column),
        pipeline=args.pipeline,
        urls=urls,
        model=os.path.abspath(model) if model and os.path.exists(model) else model,
        # a worker on a cluster has one CPU
        threads=1 if args.cluster else max(1, thread_count() // args.workers),
        threshold=args.threshold,
        labels=tuple(args.labels) if args.labels else None,
        concurrency=args.concurrency,
        timeout=args.timeout,
    )


def _made_with(job: Job) -> dict[str, object]:
    labels = sorted(job.labels) if job.labels else None
    return {"format": job.format, "model": job.model or job.pipeline, "threshold": job.threshold, "labels": labels}


def _work_off(job: Job, listing: Listing, left: Remainder, args: argparse.Namespace) -> int:
    from maskserve_tools.batch.run import Progress, cluster, reports

    for reason in listing.refused:
        _say(reason)
    for folder in listing.left_out:
        _say(f"left out {folder}, which is the output of another run")
    _say(f"{len(listing)} images, {left.done} done before, {left.todo} to do in {len(left.shards)} files")
    progress = Progress(left.todo, left.done, left.failed, *_line())
    try:
        if left.shards:
            with cluster(args.cluster, args.workers):
                for report in reports(job, left.shards, args.workers):
                    progress.add(report)
                    if report.problem:
                        _say(f"{report.problem}; its {report.undone} images are not done")
    finally:
        _say(f"{job.folder} has {left.done + progress.done} of {len(listing)} images; this run: {progress}")
    return 1 if progress.failed or progress.undone or listing.refused else 0


def _line() -> tuple[Callable[[str], None], float]:
    """Return how a line of progress is printed, and the seconds between two: over the last one on a terminal."""
    if is_terminal(sys.stderr):
        return lambda line: write_error(f"{_OVER}{line}"), 0.5
    return _say, 10.0


def _say(line: str) -> None:
    say(line, over=_OVER if is_terminal(sys.stderr) else "")
