"""`maskserve predict`: segment images with a model on a server, or in this process."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError, InvalidParameter, MaskserveError, listed
from maskserve.paddlex.generations import DEFAULT, GENERATIONS, generation_named
from maskserve.saving.files import is_url
from maskserve_tools.drawing_options import add_drawing_options, drawing_of
from maskserve_tools.options import positive, score, seconds
from maskserve_tools.reporting import StandardOutput, is_terminal, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from maskserve.pipeline import Pipeline
    from maskserve.results import Failure, InstanceSegResult
    from maskserve_tools.placing import Job

_EPILOG = """\
examples:
  maskserve predict photo.jpg --model Mask-RT-DETR-S --save_path out/
  maskserve predict --pipeline instance_segmentation --input photos/ --url http://gpu-box:8000 --threshold 0.3
  maskserve predict --pipeline best_model/inference --input photos/ --device cpu
  maskserve predict --pipeline Mask-RT-DETR-S --input photos/ --save_path out/ --resume
  maskserve predict --pipeline Mask-RT-DETR-S --input photos/ --ndjson | jq .boxes[].label
  maskserve predict --pipeline people.maskserve --input clip.mp4 --save_path out/

Each image's instances go to standard output, one line for each image; what went wrong goes to standard error. Two
images never share a file: where they would (a.jpg and a.png), the name of each says more. No input is overwritten.
The exit status is 0 when every image was segmented and saved, 1 when one was not, 2 when the command line makes no
sense, and 130 after Ctrl-C.

A command line written for paddlex works with the name exchanged, without `predict`:
  maskserve --pipeline instance_segmentation --input photo.jpg --device cpu --save_path out/
"""


@dataclass(slots=True)
class Tally:
    """How far it has come.

    Attributes:
        total: the number of images.
        seen: of those that something came of.
        done: of those that were segmented, and saved where that was asked for.
        failed: of those that could not be segmented.
        unsaved: of those that were segmented, but could not be saved or printed.
    """

    total: int
    seen: int = 0
    done: int = 0
    failed: int = 0
    unsaved: int = 0

    def __str__(self) -> str:
        reasons = [
            f"{count} could not be {what}"
            for count, what in ((self.failed, "segmented"), (self.unsaved, "saved"))
            if count
        ]
        left = self.total - self.done - self.failed - self.unsaved
        reasons += [f"{left} were left out"] if left else []
        return f"{self.done} of {self.total} images are done" + "".join(f", {reason}" for reason in reasons)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "predict",
        help="segment images with a model",
        description="Segment images with a model on a server, or in this process, and print what was found.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    pipeline = "a model's name (instance_segmentation: the server's only one, or Mask-RT-DETR-S), a model's folder,"
    more = "a bundle (.maskserve), an entry of a repository, or a pipeline file"
    add("--pipeline", "--model", dest="pipeline", required=True, metavar="NAME", help=f"{pipeline} {more}")
    inputs = "image files, PDF files, directories, URLs, video files, numbers of cameras, or rtsp:// addresses"
    add("inputs", nargs="*", metavar="PATH", help=inputs)
    add("--input", nargs="+", action="extend", default=[], metavar="PATH", help="the same, as paddlex has it")
    url = "the server, grpc:// or http:// (default: MASKSERVE_URL, or what grpc://localhost:8001 has, or no server:"
    add("--url", metavar="URL", help=f"{url} the model runs in this process)")
    server = "start a tritonserver for this command where none was named or found; --no-server: look for none, and run"
    add("--server", action=argparse.BooleanOptionalAction, help=f"{server} the model in this process")
    add("--save_path", "--save-path", metavar="DIR", help="save images and JSON files there")
    add("--cutouts", metavar="DIR", help="save each instance there, as a PNG file on a transparent ground")
    add_drawing_options(parser)
    add("--resume", action="store_true", help="leave out images whose files are there already")
    add("--ndjson", action="store_true", help="print a JSON document a line, masks as COCO run lengths")
    add("--threshold", type=score, metavar="T", help="minimum score, from 0 to 1 (default: the model's own)")
    add("--label", action="append", dest="labels", metavar="NAME", help="keep only this class; may be repeated")
    add("--generation", choices=sorted(GENERATIONS), default=DEFAULT, help=f"of PaddleX's names (default {DEFAULT})")
    add("--concurrency", type=positive, default=4, metavar="N", help="requests under way at once (default 4)")
    add("--timeout", type=seconds, default=60.0, metavar="S", help="seconds for one request (default 60)")
    add("--device", metavar="D", help="what to run the model on, such as cpu, where it runs here")
    add("--use_hpip", action="store_true", help="accepted as PaddleX has it: the fastest engine is always taken")
    parser.set_defaults(run=run, refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """Segment the images; a bad one is reported and does not stop the others.

    Raises:
        MaskserveError: the server cannot be used, or an argument makes no sense.
    """
    from maskserve import create_pipeline
    from maskserve_tools.commands.predict_video import check_video_options, segment_videos
    from maskserve_tools.placing import find_jobs
    from maskserve_tools.videos import videos_among

    given = [*args.inputs, *args.input]
    if not given:
        args.refuse("the following arguments are required: --input, or images before the options")
    if args.resume and args.save_path is None:
        raise InvalidParameter("--resume looks for files under --save_path: name it")
    drawing_of(args)  # what makes no sense is said before anything starts
    check_inputs(given)
    videos, sources = videos_among(given)
    if videos:
        check_video_options(args)
    jobs = find_jobs(sources, args.save_path, generation_named(args.generation), resume=args.resume) if sources else []
    if not jobs and args.resume:
        return 0
    pipeline = create_pipeline(
        args.pipeline,
        url=args.url,
        device=args.device,
        use_hpip=args.use_hpip,
        concurrency=args.concurrency,
        timeout=args.timeout,
        generation=args.generation,
        server=args.server,
    )
    tally = Tally(len(jobs))
    try:
        with pipeline:
            output = _segment(pipeline, jobs, args, tally)
            segment_videos(pipeline, videos, args, tally, output)
    except KeyboardInterrupt:
        say(f"stopped after {tally.seen} of {tally.total} images")
        return 130
    except MaskserveError:
        if tally.seen:
            say(f"stopped after {tally.seen} of {tally.total} images")
        raise
    if output.reason:
        say(output.reason)
    if tally.done < tally.total:
        say(str(tally))
    return 1 if tally.done < tally.total or (output.reason and not output.gone) else 0


def check_inputs(given: Sequence[str]) -> None:
    """Make sure that one of the inputs is there at least, before a model is loaded.

    Raises:
        InputError: none is there.
    """
    if not any(is_url(text) or "://" in text or text.isdigit() or os.path.lexists(text) for text in given):
        first = f"{given[0]} is not there" if len(given) == 1 else f"none of {listed(list(given), 5)} is there"
        raise InputError(f"{first}: neither a file nor a folder")


def _segment(pipeline: Pipeline, jobs: list[Job], args: argparse.Namespace, tally: Tally) -> StandardOutput:
    """Segment, print and save; stop early where nobody reads the results and none are saved."""
    output = StandardOutput()
    with progress_bar(len(jobs)) as advance:
        for job, outcome in zip(jobs, _outcomes(pipeline, jobs, args), strict=True):
            _deliver(outcome, job, output, tally, args)
            tally.seen += 1
            advance()
            if output.reason and args.save_path is None and args.cutouts is None:
                break
    return output


@contextmanager
def progress_bar(total: int | None) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error, if a person watches and the results go elsewhere; yield what moves it on."""
    if (total is not None and total < 2) or not is_terminal(sys.stderr) or is_terminal(sys.stdout):
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
        [job.input_image for job in jobs], threshold=args.threshold, labels=args.labels, on_error="return"
    )


def _deliver(
    outcome: InstanceSegResult | Failure, job: Job, output: StandardOutput, tally: Tally, args: argparse.Namespace
) -> None:
    """Print and save what came of an image."""
    from maskserve import Failure

    if isinstance(outcome, Failure):
        say(outcome.error.message)
        tally.failed += 1
        return
    write_result(outcome, output, ndjson=args.ndjson)
    problems = list(_save(outcome, job, args))
    for problem in problems:
        say(problem)
    if problems:
        tally.unsaved += 1
    elif not (output.reason and job.json is None and args.cutouts is None):
        tally.done += 1


def write_result(result: InstanceSegResult, output: StandardOutput, *, ndjson: bool) -> None:
    """Print a result: a JSON document on a line, or PaddleX's line."""
    from maskserve.paddlex.serialize import show_json

    output.write(lambda: show_json(result.to_dict()) if ndjson else result.print())


def _save(result: InstanceSegResult, job: Job, args: argparse.Namespace) -> Iterator[str]:
    """Save the files of an image, each even if another fails; yield what is wrong."""
    from maskserve.errors import InputError, MaskserveError

    saving: tuple[tuple[Path | str | None, Callable[[Any], object]], ...] = (
        (job.image, partial(result.save_to_img, **drawing_of(args))),
        (job.json, result.save_to_json),
        (args.cutouts, result.save_cutouts),
    )
    for path, save in saving:
        if path is None:
            continue
        try:
            if isinstance(path, Path) and path.is_dir():
                raise InputError(f"{path} cannot be written: a directory is in the way")
            save(path)
        except MaskserveError as error:
            source = job.input_image.input_path
            yield error.message if source is None or source in error.message else f"{source}: {error.message}"
