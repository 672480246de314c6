"""The videos of `maskserve predict`: each becomes a video with what was found, and a document for each frame."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import InputError, InvalidParameter
from maskserve_tools.commands.predict import Tally, progress_bar, write_result
from maskserve_tools.drawing_options import drawing_of
from maskserve_tools.reporting import StandardOutput, say
from maskserve_tools.videos import VideoFiles, frame_count, video_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskserve.pipeline import Pipeline


def check_video_options(args: argparse.Namespace) -> None:
    """Check what a video cannot be done with.

    Raises:
        InvalidParameter: --resume, --cutouts, or a --save_path that is the name of a file.
    """
    if args.cutouts is not None:
        raise InvalidParameter("--cutouts would write files for every frame of a video: leave it out")
    if args.resume:
        raise InvalidParameter("--resume does not know how much of a video is done: leave it out")
    if args.save_path is not None and _is_file_name(args.save_path):
        raise InvalidParameter(f"--save_path {args.save_path} must be a directory for a video: {args.save_path}/")


def _is_file_name(path: str) -> bool:
    return bool(Path(path).suffix) and not path.endswith("/") and not Path(path).is_dir()


def segment_videos(
    pipeline: Pipeline, sources: Sequence[str | int], args: argparse.Namespace, tally: Tally, output: StandardOutput
) -> None:
    """Segment, print and save the frames of videos, of a camera until Ctrl-C. A bad one does not stop the others.

    Raises:
        MaskserveError: the server cannot be used, or an argument makes no sense.
    """
    folder = None if args.save_path is None else Path(args.save_path)
    names = [""] * len(sources) if folder is None else video_names(folder, sources)
    for source, name in zip(sources, names, strict=True):
        files = None if folder is None else VideoFiles(folder, name, source, drawing_of(args))
        try:
            _segment(pipeline, source, files, args, tally=tally, output=output)
        except InvalidParameter:
            raise
        except InputError as error:
            say(error.message)
            tally.total += 1  # the video itself, beside its frames
            tally.unsaved += 1


def _segment(
    pipeline: Pipeline,
    source: str | int,
    files: VideoFiles | None,
    args: argparse.Namespace,
    *,
    tally: Tally,
    output: StandardOutput,
) -> None:
    from maskserve import Failure

    outcomes = pipeline.predict(source, threshold=args.threshold, labels=args.labels, on_error="return")
    with files or nullcontext(), progress_bar(frame_count(source)) as advance:
        for outcome in outcomes:
            tally.total += 1
            tally.seen += 1
            if isinstance(outcome, Failure):
                say(outcome.error.message)
                tally.failed += 1
                continue
            write_result(outcome, output, ndjson=args.ndjson)
            if files is not None:
                files.write(outcome)
            tally.done += 1
            advance()
            if output.reason and files is None:
                break
    if files is not None and files.video.exists():
        say(f"{files.video} and {files.documents} are written")
