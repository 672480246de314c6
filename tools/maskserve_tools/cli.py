"""The `maskserve` command: a parser for each module in `maskserve_tools.commands`, and errors as sentences."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from maskserve.errors import MaskserveError

COMMANDS = ("models", "fetch", "convert", "serve", "gateway", "predict", "verify", "perf_data")


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="maskserve",
        description="Serve PaddleX instance segmentation models with Triton.",
        epilog="`maskserve COMMAND --help` explains a command.",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"maskserve_tools.commands.{name}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 for success, 1 for a failure that was explained."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--pipeline"]:  # as people call paddlex
        given.insert(0, "predict")
    parsed = build_parser().parse_args(given)
    try:
        return int(parsed.run(parsed))
    except MaskserveError as error:
        print(f"maskserve: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
