"""The `maskserve` command: a parser for each module in `maskserve_tools.commands`, and errors as sentences."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import maskserve
from maskserve.errors import MaskserveError, ToolError
from maskserve_tools.extras import extra_of, install_line
from maskserve_tools.parser import CommandParser, Parser
from maskserve_tools.reporting import write_error
from maskserve_tools.terminal import write_anything

COMMANDS = (
    "up",
    "models",
    "fetch",
    "convert",
    "serve",
    "gateway",
    "predict",
    "pipeline_config",
    "tune",
    "verify",
    "evaluate",
    "perf_data",
    "doctor",
    "batch",
    "annotate",
)

_EPILOG = """\
a model, its server, the REST service and its page, with one command:
  maskserve up best_model/inference

from a model's folder to images:
  maskserve convert best_model/inference
  maskserve serve
  maskserve predict --pipeline NAME --input photo.jpg --save_path out/

without a server, as with paddlex:
  maskserve --pipeline best_model/inference --input photo.jpg --save_path out/

`maskserve COMMAND --help` explains a command.
"""


# What a file system says of a place that a user named; other errors of the system are mistakes of ours.
_OF_A_PLACE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all subcommands."""
    parser = Parser(
        prog="maskserve",
        description="Serve PaddleX instance segmentation models with Triton.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"maskserve {maskserve.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=CommandParser)
    for name in COMMANDS:
        import_module(f"maskserve_tools.commands.{name}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 for success, 1 for a failure that was explained."""
    write_anything()
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    if not given:
        parser.print_help(sys.stderr)
        return 2
    try:
        ours, passed_on = _split(_as_command(given))
        parsed = parser.parse_args(ours)
        if passed_on:
            parsed.passed_on = passed_on
        return int(parsed.run(parsed))
    except MaskserveError as error:
        write_error(f"maskserve: {error.message}\n")
        return 1
    except OSError as error:
        if error.errno not in _OF_A_PLACE or error.filename is None:
            raise
        write_error(f"maskserve: {os.fsdecode(error.filename)!r} cannot be used: {error.strerror}\n")
        return 1
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0].startswith("maskserve"):
            raise
        write_error(f"maskserve: a package is missing or damaged ({error}): {install_line(extra_of(error.name))}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _split(given: list[str]) -> tuple[list[str], list[str]]:
    """Return the words for `maskserve serve`, and those behind -- for tritonserver; other commands read -- as usual."""
    if given[0] != "serve" or "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]


def _as_command(given: list[str]) -> list[str]:
    """Return the command line of ours for one that was written for `paddlex`, which has options only."""
    options = {argument.partition("=")[0] for argument in given}
    if not given[0].startswith("--") or not options & {"--pipeline", "--input", "--get_pipeline_config", "--serve"}:
        return given
    if "--serve" in options:
        raise ToolError("--serve is two commands: `maskserve serve` for the models, `maskserve gateway` for REST")
    if "--get_pipeline_config" in options:
        name = "--get_pipeline_config"
        return ["pipeline-config", *(word.removeprefix(f"{name}=") for word in given if word != name)]
    return ["predict", *given]


if __name__ == "__main__":
    sys.exit(main())
