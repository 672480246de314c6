"""`maskserve predict`: segment pictures with a model on a server."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskserve.results import InstanceSegResult

_EPILOG = """\
examples:
  maskserve predict --pipeline Mask-RT-DETR-S --input photo.jpg --save_path out/
  maskserve predict --pipeline instance_segmentation --input photos/ --url http://gpu-box:8000 --threshold 0.3

Each picture's instances go to standard output, one line for each picture; what went wrong goes to standard error.
The exit status is 0 when every picture was segmented, 1 when one was not, 2 when the command line makes no sense.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "predict",
        help="segment pictures with a model on a server",
        description="Segment pictures with a model on a server and print what was found.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--pipeline",
        required=True,
        metavar="NAME",
        help="the model on the server; instance_segmentation is its only one, or Mask-RT-DETR-S",
    )
    parser.add_argument(
        "--input", required=True, nargs="+", metavar="PATH", help="image files, PDF files, directories or URLs"
    )
    parser.add_argument(
        "--url", metavar="URL", help="the server (default: MASKSERVE_URL, or grpc://localhost:8001); http:// works, too"
    )
    parser.add_argument("--save_path", "--save-path", metavar="DIR", help="save pictures and JSON files there")
    parser.add_argument("--threshold", type=float, metavar="T", help="minimum score (default: the model's own)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds for one request (default 60)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment the pictures one after another; a bad one is reported and does not stop the others.

    Raises:
        MaskserveError: the server cannot be used.
    """
    from maskserve import Failure, create_pipeline

    failures = 0
    with create_pipeline(args.pipeline, url=args.url, timeout=args.timeout) as pipeline:
        for outcome in pipeline.predict(args.input, threshold=args.threshold, on_error="return"):
            if isinstance(outcome, Failure):
                failures += 1
                print(f"maskserve: {outcome.error.message}", file=sys.stderr)
            else:
                _deliver(outcome, args.save_path)
    return 1 if failures else 0


def _deliver(result: InstanceSegResult, save_path: str | None) -> None:
    result.print()
    if save_path is not None:
        result.save_all(save_path)
