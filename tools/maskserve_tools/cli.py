"""The `maskserve` command: a parser for each module in `maskserve_tools.commands`, and errors as sentences."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from maskserve.errors import MaskserveError, ToolError

COMMANDS = (
    "models",
    "fetch",
    "convert",
    "serve",
    "gateway",
    "predict",
    "pipeline_config",
    "verify",
    "perf_data",
    "doctor",
    "batch",
)

_EPILOG = """\
from a model's folder to pictures:
  maskserve convert best_model/inference
  maskserve serve
  maskserve predict --pipeline NAME --input photo.jpg --save_path out/

or all of it at once, on one machine, as with paddlex:
  maskserve --pipeline best_model/inference --input photo.jpg --save_path out/

`maskserve COMMAND --help` explains a command.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="maskserve",
        description="Serve PaddleX instance segmentation models with Triton.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"maskserve_tools.commands.{name}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 for success, 1 for a failure that was explained."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    if not given:
        parser.print_help(sys.stderr)
        return 2
    try:
        parsed = parser.parse_args(_as_command(given))
        return int(parsed.run(parsed))
    except MaskserveError as error:
        print(f"maskserve: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _as_command(given: list[str]) -> list[str]:
    """The command line of ours for one that was written for `paddlex`, which has options only."""
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
