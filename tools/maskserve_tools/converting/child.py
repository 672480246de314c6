"""Run one of our modules in a process of its own: Paddle and Paddle2ONNX end the process they run in when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from maskserve.errors import ToolError

_TAIL_LINES = 12


class ChildFailed(ToolError):
    """The child ended with an error or was killed; the message holds what it printed last."""


def run_module(module: str, arguments: Sequence[str], *, timeout: float = 1800) -> str:
    """Run `python -m module arguments`.

    Args:
        module: its dotted name.
        arguments: its command line.
        timeout: seconds after which it is killed.

    Returns:
        What it printed on its standard output.

    Raises:
        ChildFailed: it failed, was killed by a signal, or took too long.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    environment = {
        **os.environ,
        "GLOG_minloglevel": "3",
        "POLYGRAPHY_AUTOINSTALL_DEPS": "0",  # else Paddle2ONNX's optimiser installs packages while it runs
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"{module} did not finish within {timeout:.0f} s") from error
    if done.returncode != 0:
        raise ChildFailed(f"{module} {_ending(done.returncode)}: {_tail(done.stdout + done.stderr)}")
    return done.stdout


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed (exit status {code})"


def _tail(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " / ".join(lines[-_TAIL_LINES:])[-1500:]
