"""`maskserve fetch`: official models from PaddleX's download site into the cache."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve_convert.catalogue import VERSIONS

if TYPE_CHECKING:
    from rich.console import Console

_EPILOG = """\
examples:
  maskserve fetch Mask-RT-DETR-S
  maskserve fetch SOLOv2 --version paddle3.0.0 --source http://mirror.example/paddlex
  maskserve convert $(maskserve fetch PP-YOLOE_seg-S)

`maskserve models` lists the names. Each model's folder goes to standard output, all else to standard error. What is in
the cache is not fetched again; what was cut off is gone on with. An archive NAME_infer.tar that you put into
CACHE/models/VERSION/ is used instead of a download. Below the address of a --source there is VERSION/NAME_infer.tar.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "fetch",
        help="download official models",
        description="Download official PaddleX models into a cache and print where they are.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="a name of `maskserve models`")
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[0],
                        help="the release of Paddle that exported it (default: %(default)s)")  # fmt: skip
    parser.add_argument("--source", metavar="URL",
                        help="a mirror (default: MASKSERVE_MODEL_SOURCE, or PaddleX's own site)")  # fmt: skip
    parser.add_argument("--cache", type=Path, metavar="DIR",
                        help="where models are kept (default: MASKSERVE_CACHE, or ~/.cache/maskserve)")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch one after the other and print each folder.

    Raises:
        ToolError: one cannot be fetched.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for name in args.names:
        print(_fetch(name, args, console), flush=True)
    return 0


def _fetch(name: str, args: argparse.Namespace, console: Console) -> Path:
    from maskserve_tools.models.fetching import by_tenths, fetch

    def report(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    get = partial(fetch, name, version=args.version, source=args.source, cache=args.cache, report=report)
    if not console.is_terminal:
        return get(progress=by_tenths(report))
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, visible=False)

        def progress(received: int, total: int | None) -> None:
            bar.update(task, completed=received, total=total, visible=True)

        return get(progress=progress)
