"""`maskserve pipeline-config`: write a pipeline file, to be edited and given as `--pipeline`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from maskserve.errors import ToolError
from maskserve.paddlex.config import PIPELINE, PIPELINE_MODEL
from maskserve.paddlex.generations import DEFAULT, GENERATIONS
from maskserve.transport.endpoint import parse_url

_FIRST = """\
Global:
  pipeline_name: instance_segmentation
Pipeline:
  model: {model}  # a name, or the path of a model's folder
  batch_size: 1  # requests under way at once
  # device: cpu  # what runs the model, where no server does
"""
_LATER = """\
pipeline_name: instance_segmentation
SubModules:
  InstanceSegmentation:
    module_name: instance_segmentation
    model_name: {model}
    model_dir: null  # the path of the model's folder; null is the official model of that name
    batch_size: 1  # requests under way at once
    threshold: 0.5
# device: cpu  # what runs the model, where no server does
"""
_SHAPES = {"3.0b2": _FIRST, "3.x": _LATER}
_EPILOG = """\
examples:
  maskserve pipeline-config instance_segmentation
  maskserve pipeline-config SOLOv2 --generation 3.x --url http://gpu-box:8000 --save_path solo.yaml
  maskserve --get_pipeline_config instance_segmentation --save_path ./my_path
  maskserve predict --pipeline ./my_path/instance_segmentation.yaml --input photo.jpg
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "pipeline-config",
        help="write a pipeline file to edit",
        description="Write a pipeline file, which create_pipeline and `maskserve predict` read, and PaddleX, too.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="instance_segmentation, or a name of `maskserve models`")
    add("--save_path", "--save-path", type=Path, default=Path(), metavar="PATH",
        help="a directory, or a file that ends with .yaml or .yml (default: the current directory)")  # fmt: skip
    add("--generation", choices=sorted(GENERATIONS), default=DEFAULT, help=f"of PaddleX's files (default {DEFAULT})")
    add("--url", metavar="URL", help="the server; without it the file has a comment in its place")
    add("--overwrite", action="store_true", help="replace a file that is there without asking")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file; the exit status is 1 when there is one already that is to be kept.

    Raises:
        MaskserveError: there is no such pipeline, or the file cannot be written.
    """
    text = content(args.name, args.generation, args.url)
    is_file = args.save_path.suffix.lower() in (".yaml", ".yml")
    path = args.save_path if is_file else args.save_path / f"{args.name}.yaml"
    if path.exists() and not args.overwrite and not _may_overwrite(path):
        print("maskserve: nothing was written", file=sys.stderr)
        return 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ToolError(f"{path} cannot be written: {error.strerror}") from error
    print(f"The pipeline config has been saved to: {path}")
    return 0


def content(name: str, generation: str, url: str | None) -> str:
    """Return the text of a pipeline file.

    Args:
        name: "instance_segmentation" or the name of an official model.
        generation: of PaddleX, whose shape the file has.
        url: the server, or None for a comment.

    Raises:
        ToolError: there is no such pipeline.
        InvalidParameter: `url` is none.
    """
    from maskserve_convert.catalogue import is_official

    if name != PIPELINE and not is_official(name):
        raise ToolError(
            f"there is no pipeline {name!r}: {PIPELINE} is the one, or one of its models (`maskserve models`)"
        )
    server = f"url: {parse_url(url).url}\n" if url else "# url: grpc://localhost:8001  # the server\n"
    return _SHAPES[generation].format(model=PIPELINE_MODEL if name == PIPELINE else name) + server


def _may_overwrite(path: Path) -> bool:
    print(f"The file {path} already exists. Overwrite it? (y/N): ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin else ""
    if not answer:
        print(file=sys.stderr)
        raise ToolError(f"{path} exists and nobody answers: give --overwrite, or another --save_path")
    return answer.strip().lower() in ("y", "yes")
