"""`maskserve doctor`: say what a machine, a repository or a running server lacks."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve_tools.options import seconds
from maskserve_tools.terminal import is_unicode

if TYPE_CHECKING:
    from rich.text import Text

    from maskserve_tools.doctor.examination import Section
    from maskserve_tools.doctor.finding import Finding

_DEFAULT = Path("model_repository")
_EPILOG = """\
what is looked at:
  machine     Python, numpy, the embedded server, the engines and the versions they were converted with; /dev/shm,
              memory, cores against threads, the processor, GPUs, open files, ports
  repository  every entry: its configuration, the steps it calls, its files, labels, contract, versions, warm-up
  server      (with --url) its models, each with test images; published vulnerabilities of its version; APIs for
              operators that answer without a key; addresses, encryption, limits, metrics. Nothing is changed there:
              status calls, reads, and inferences on a small image.
  gateway     (with --gateway, or where one runs here) who reaches it: addresses, API key, encryption

With --url and without REPOSITORY only the server is looked at. Without either, the machine and, where there is one,
./model_repository.

exit status:
  0  no problems; there may be warnings, unless --strict
  1  there are problems
  2  something could not be checked: no repository there, no server answers, a list of models that is kept secret

examples:
  maskserve doctor model_repository
  maskserve doctor --url grpc://localhost:8001
  maskserve doctor model_repository --json | jq '.[] | select(.level == "problem")'
"""
_INDENT = 11  # of what was found, behind the longest name of a level
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "bold magenta"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what a machine, a repository or a running server lacks",
        description="Say what this machine, a model repository or a running server lacks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("repository", nargs="?", type=Path, metavar="REPOSITORY", help="the model repository that is to be served")
    add("--url", help="a running server, such as grpc://localhost:8001 or http://localhost:8000")
    add("--model", action="append", dest="models", default=[], metavar="NAME",
        help="try this model of the server; may be repeated (default: REPOSITORY's, or all that it lists)")  # fmt: skip
    add("--metrics-url", metavar="URL", help="the server's metrics (default: port 8002, /metrics)")
    add(
        "--gateway", metavar="URL", help="a running gateway (default: one on this machine's port 8080, if there is one)"
    )
    add("--ca-file", metavar="FILE", help="certificate authorities to trust for grpcs:// and https://")
    add("--timeout", type=seconds, default=60.0, metavar="S", help="seconds a model has for a test image (default 60)")
    add("--strict", action="store_true", help="let warnings count as problems")
    add("--json", action="store_true", help="print a JSON list of findings instead")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look, tell, and answer with the exit status.

    Raises:
        InvalidParameter: the URL is none.
    """
    from maskserve_tools.doctor.finding import exit_status

    sections = examine(args)
    if args.json:
        print(_as_json(sections))
    else:
        _print(sections)
    return exit_status([finding for section in sections for finding in section.findings], strict=args.strict)


def examine(args: argparse.Namespace) -> list[Section]:
    """Return the sections that the arguments ask for."""
    from maskserve.transport.endpoint import parse_url
    from maskserve_tools.doctor import examination
    from maskserve_tools.doctor.gateway_checks import examine_gateway
    from maskserve_tools.doctor.machine import Machine

    sections, models = [], args.models
    endpoint = replace(parse_url(args.url), ca_file=args.ca_file) if args.url else None
    path = args.repository or (_DEFAULT if endpoint is None and _DEFAULT.is_dir() else None)
    if path is not None or endpoint is None:
        repository, section = examination.read_or_say(path) if path is not None else (None, None)
        sections.append(examination.examine_machine(repository, Machine.look(), ports_matter=endpoint is None))
        sections += [section] if section is not None else []
        models = models or (repository.models if repository is not None else [])
    if endpoint is not None:
        sections.append(examination.examine_server(endpoint, models, args.metrics_url, args.timeout))
    if found := examine_gateway(args.gateway):
        sections.append(examination.Section("gateway", found))
    return sections


def _as_json(sections: Sequence[Section]) -> str:
    records = [
        {"of": section.title, "level": found.level.value, "what": found.what, "why": found.why, "fix": found.fix}
        for section in sections
        for found in section.findings
    ]
    return json.dumps(records, indent=2, ensure_ascii=not is_unicode(sys.stdout))


def _print(sections: Sequence[Section]) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    for section in sections:
        console.print(section.title, style="bold", markup=False)
        for finding in section.findings:
            console.print(_paragraph(finding, console.width), soft_wrap=True)
    console.print(_verdict(sections), markup=False)


def _paragraph(finding: Finding, width: int) -> Text:
    """Return the level in its colour and what was found, wrapped here so that no line ends in blanks."""
    from rich.text import Text

    level = finding.level.value
    parts = [finding.what, finding.why and f"why: {finding.why}", finding.fix and f"fix: {finding.fix}"]
    lines = [line for part in parts if part for line in textwrap.wrap(part, max(40, width - _INDENT))]
    return Text.assemble((f"  {level}".ljust(_INDENT), _STYLES[level]), ("\n" + " " * _INDENT).join(lines))


def _verdict(sections: Sequence[Section]) -> str:
    levels = [finding.level.value for section in sections for finding in section.findings]
    names = {"problem": "problems", "warning": "warnings", "unknown": "not checked"}
    counts = [f"{name}: {count}" for level, name in names.items() if (count := levels.count(level))]
    return ", ".join(counts) or f"all is well: {len(levels)} checks"
