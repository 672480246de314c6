"""The process that tidies up after a server whose owner was killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_tools.embedded import janitor
from maskserve_tools.embedded.shared_memory import RegionNamespace

MARKER = "MASKSERVE_SERVER"
"""The environment variable that all processes of a server have, with its name."""
_GRACE = 3.0  # seconds that requests under way have when the owner was killed
_END = 5.0


@contextlib.contextmanager
def tidied_up_after(folder: Path, regions: RegionNamespace) -> Iterator[None]:
    """Start a process that removes a server's processes, folder and regions, should this process be killed.

    Raises:
        ToolError: it cannot be started.
    """
    script = [sys.executable, "-I", "-S", str(Path(janitor.__file__)), str(os.getpid())]
    path = str(regions.directory / regions.prefix.removesuffix("-"))
    what = [f"{MARKER}={regions.prefix}", str(_GRACE), str(folder), path]
    try:
        process = subprocess.Popen(
            [*script, *what],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # whoever reads what this program writes does not wait for the janitor
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the terminal's processes is not for it
        )
    except OSError as error:
        raise ToolError(f"the process that tidies up after the server cannot be started: {error}") from error
    assert process.stdin is not None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            process.stdin.write(b"x")
            process.stdin.close()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
