"""`maskserve convert`: a Paddle inference folder becomes entries of a model repository."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from maskserve_tools.options import ENGINES, LAYOUTS, PRECISIONS, TARGETS


def add_parser(subparsers: Any) -> None:
    """Add `convert` to the command line."""
    parser = subparsers.add_parser(
        "convert",
        help="turn a Paddle inference folder into entries of a Triton model repository",
        description="Cut a PaddleX instance segmentation model in front of its mask painting, convert the rest to "
        "ONNX, and write the entries that tritonserver runs.",
    )
    parser.add_argument("source", metavar="PADDLE_DIR|NAME", help="the folder that holds inference.yml, or the name of "
                        "an official model, which is fetched (see `maskserve models`)")  # fmt: skip
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), metavar="DIR",
                        help="the model repository to write into (default: %(default)s)")  # fmt: skip
    parser.add_argument("--name", help="what clients call the model (default: the name in inference.yml)")
    parser.add_argument("--engine", choices=ENGINES, default="auto",
                        help="what runs the network (default: the fastest that works)")  # fmt: skip
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="what the network computes in; bf16 and fp16 need OpenVINO and a CPU that has them; "
                        "`maskserve verify` says what they cost (default: %(default)s)")  # fmt: skip
    parser.add_argument("--layout", choices=LAYOUTS, default="ensemble",
                        help="three steps that scale apart, or one process (default: %(default)s)")  # fmt: skip
    parser.add_argument("--target", choices=TARGETS, default="embedded",
                        help="what serves it: `maskserve serve` and every other tritonserver (the core runs in the "
                        "python backend), or Triton's containers with their C++ backends, on a CPU or a GPU, where "
                        "--precision fp16 is TensorRT's (default: %(default)s)")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Convert, saying each step."""
    from maskserve_tools.converting.conversion import convert

    console = Console(stderr=True, highlight=False)
    with console.status("converting") as status:

        def report(line: str) -> None:
            status.update(line)
            console.print(line, soft_wrap=True, markup=False)

        made = convert(
            arguments.source,
            repository=arguments.repository,
            name=arguments.name,
            engine=arguments.engine,
            precision=arguments.precision,
            layout=arguments.layout,
            target=arguments.target,
            report=report,
        )
    print(f"{made.name}: {made.family} on {made.engine}, {arguments.precision} ({made.reason})")
    if arguments.target == "embedded":
        print(f"serve it with: maskserve serve {arguments.repository}")
    else:
        print(f"serve {arguments.repository} with Triton's container, see docs/deployment.md")
    return 0
