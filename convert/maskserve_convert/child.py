"""Run one of our modules in a process of its own: Paddle and Paddle2ONNX end the process they run in when they fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import IO

from maskserve.errors import ToolError

_TAIL_LINES = 12
# What Paddle prints of a crash beside the error itself: rulers, headings, calls of C++, times and process numbers.
_NOISE = re.compile(
    r"\s*(-+$|C\+\+ Traceback|Error Message Summary|\d+ {2,}\S|\[(Time|Signal)Info|FatalError: `"
    r"|\[Paddle2ONNX\]( Start parsing.*)?\s*$)"
)


class ChildFailed(ToolError):
    """The child ended with an error or was killed; the message holds what it printed last.

    Args:
        message: what it printed.
        exit_status: its exit status; negative for a signal, None where it took too long.
    """

    def __init__(self, message: str, exit_status: int | None = None) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    timeout: float = 1800,
    listen: Callable[[str], None] = lambda line: None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run `python -m module arguments`.

    Args:
        module: its dotted name.
        arguments: its command line.
        timeout: seconds after which it is killed.
        listen: called with each line of its standard output, in another thread, when it comes.
        environment: variables that it has besides ours.

    Returns:
        What it printed on its standard output.

    Raises:
        ChildFailed: it failed, was killed by a signal, or took too long.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    variables = {
        **os.environ,
        "GLOG_minloglevel": "3",
        "POLYGRAPHY_AUTOINSTALL_DEPS": "0",  # else Paddle2ONNX's optimiser installs packages while it runs
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        **(environment or {}),
    }
    try:
        status, printed, complained = _run(command, variables, timeout, listen)
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"{module} did not finish within {timeout:.0f} s") from error
    if status != 0:
        raise ChildFailed(f"{module} {_ending(status)}: {_tail(printed + complained)}", status)
    return printed


def _run(
    command: Sequence[str], variables: Mapping[str, str], timeout: float, listen: Callable[[str], None]
) -> tuple[int, str, str]:
    """Run a command; return its exit status, and what came on its standard output and error."""
    printed, complained = list[str](), list[str]()

    def read(stream: IO[str], lines: list[str], told: Callable[[str], None]) -> None:
        for line in stream:
            lines.append(line)
            told(line.rstrip("\n"))

    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace", env=variables
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        readers = [
            Thread(target=read, args=(process.stdout, printed, listen), daemon=True),
            Thread(target=read, args=(process.stderr, complained, lambda line: None), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            status = process.wait(timeout)
        except BaseException:  # also Ctrl-C
            process.kill()
            raise
        finally:
            for reader in readers:
                reader.join(timeout=10)  # a grandchild may hold the pipes
    return status, "".join(printed), "".join(complained)


def _ending(code: int) -> str:
    if code >= 0:
        return f"failed (exit status {code})"
    names = {member.value: member.name for member in signal.Signals}
    return f"was ended by {names.get(-code, f'signal {-code}')}"


def _tail(output: str) -> str:
    """Return what a child said last: of a Python traceback the error without the calls that led to it."""
    lines = [line for line in output.splitlines() if line.strip()]
    tracebacks = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if tracebacks:
        after = range(tracebacks[-1] + 1, len(lines))
        error = next((number for number in after if not lines[number].startswith(" ")), tracebacks[-1])
        lines = lines[error:]
    said = [line for line in lines if not _NOISE.match(line)] or lines
    return " / ".join(line.strip() for line in said[-_TAIL_LINES:])[-1500:]
