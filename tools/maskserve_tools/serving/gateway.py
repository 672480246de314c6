"""The REST service as a child of the process that runs the server: it stops first, and never outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from maskserve.errors import ToolError
from maskserve_tools.serving import launcher

_GRACE = 10.0


class GatewayProcess:
    """A running `maskserve gateway`; a context manager that stops it at the end.

    Args:
        url: the server.
        models: its models; the gateway is for one.
        host: the address to listen on.
        port: likewise; 0 for a free one. The gateway says itself where it listens.

    Raises:
        ToolError: there are several models.
    """

    def __init__(self, url: str, models: Sequence[str], *, host: str, port: int) -> None:
        if len(models) != 1:
            raise ToolError(f"--http-api is for one model: name one of {', '.join(models)} with --model")
        prologue = [sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(os.getpid())]
        command = [sys.executable, "-m", "maskserve_tools.cli", "gateway", "--url", url, "--model", models[0]]
        where = ["--host", host, "--port", str(port) if port else "auto"]
        # Ctrl-C at the terminal is for us, who then stop it before the server that it asks
        self._popen = subprocess.Popen([*prologue, *command, *where], stdin=subprocess.DEVNULL, start_new_session=True)

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._popen.poll()

    def stop(self) -> None:
        """Let it answer what it has been asked, for up to ten seconds, and end it."""
        self._popen.terminate()
        try:
            self._popen.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def __enter__(self) -> GatewayProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
