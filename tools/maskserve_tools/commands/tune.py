"""`maskserve tune`: measure the ways to serve a model on this machine, and write the best one into its entry."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from maskserve_convert.choices import PRECISIONS
from maskserve_tools.options import positive, seconds

if TYPE_CHECKING:
    from maskserve_tools.tune.report import Findings

_EPILOG = """\
The setups are served side by side by an embedded server and take turns, so that other load on the machine disturbs all
alike. What is far behind is dropped after a turn. A run that was stopped goes on where it was. DIR then has report.md,
plot.svg and a table in CSV.

Without --latency the setup that answers the most images a second for the most clients is chosen; the current one stays
where none is over 2 % better. The precision stays, unless --precision names others: they change the answers.

example:
  maskserve tune Mask-RT-DETR-S --photos photos/ --latency 500
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tune` to the command line."""
    parser = subparsers.add_parser(
        "tune",
        help="measure the ways to serve a model on this machine, and take the best one",
        description="Measure layouts, engines, instances and threads with your images on this machine, and write the "
        "best into the model's entry.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the model, as clients call it")
    parser.add_argument("--photos", type=Path, required=True, metavar="PATH",
                        help="an image, or a directory of them, like those that will come")  # fmt: skip
    parser.add_argument("--latency", type=seconds, metavar="MS",
                        help="what the 95th percentile of the latency may not exceed, in milliseconds")  # fmt: skip
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), metavar="DIR",
                        help="where its entries are (default: %(default)s)")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="where turns and reports are kept (default: tune-NAME)")  # fmt: skip
    parser.add_argument("--precision", action="append", choices=PRECISIONS, default=[], dest="precisions",
                        help="choose among these; may be repeated (default: the entry's own)")  # fmt: skip
    parser.add_argument("--clients", type=positive, action="append", metavar="N",
                        help="measure with N clients; may be repeated (default: 1 and 4)")  # fmt: skip
    parser.add_argument("--seconds", type=seconds, default=4.0, metavar="S",
                        help="of a turn for one number of clients (default: %(default)g)")  # fmt: skip
    parser.add_argument("--turns", type=positive, default=4, metavar="N",
                        help="how often a setup is measured at most (default: %(default)s)")  # fmt: skip
    parser.add_argument("--exhaustive", action="store_true", help="measure every setup in every turn")
    parser.add_argument("--dry-run", action="store_true", help="measure and report only; leave the entry as it is")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the choice.

    Raises:
        ToolError: the entry cannot be tuned.
    """
    from maskserve_tools.extras import need
    from maskserve_tools.given_images import given_images

    photos = given_images(arguments.photos)
    need("maskserve tune", "embedded")
    from maskserve_tools.tune.tuning import Plan, tune

    folder = arguments.output or Path(f"tune-{arguments.name}")
    console = Console(stderr=True, highlight=False)
    with console.status("measuring") as status:

        def report(line: str) -> None:
            status.update(line)
            console.print(line, soft_wrap=True, markup=False)

        findings, changed = tune(
            Plan(
                name=arguments.name,
                repository=arguments.repository,
                photos=photos,
                folder=folder,
                latency=None if arguments.latency is None else arguments.latency / 1e3,
                precisions=tuple(arguments.precisions),
                clients=tuple(sorted(set(arguments.clients or (1, 4)))),
                seconds=arguments.seconds,
                turns=arguments.turns,
                exhaustive=arguments.exhaustive,
                write=not arguments.dry_run,
                report=report,
            )
        )
    Console(width=None if sys.stdout.isatty() else 160).print(_table(findings))
    print(findings.verdict())
    print(f"report, plot and CSV are in {folder}")
    if changed:
        print("the entry has it; a server that runs has to be restarted, or to reload it")
    return 0 if findings.choice.within else 1


def _table(findings: Findings) -> Table:
    table = Table(*findings.header())
    for row in findings.rows():
        table.add_row(*row)
    return table
