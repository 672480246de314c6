"""The REST service as a child of the process that runs the server: it stops first, and never outlives it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from maskserve.backoff import Backoff
from maskserve.errors import ToolError
from maskserve.served import the_model_among
from maskserve_tools.embedded import launcher, ports, session
from maskserve_tools.embedded.janitor_process import MARKER

_GRACE = 10.0
_log = logging.getLogger("maskserve")


def default_among(models: Sequence[str]) -> str:
    """Return the model of requests that name none: PaddleX's, the only one, or the first by name."""
    return the_model_among(models) or min(models)


class GatewayProcess:
    """A running `maskserve gateway`; a context manager that stops it at the end.

    Its own workers are started again by itself; here the process above them is, on the same port.

    Attributes:
        url: where programs on this machine find it.
        default: the model of requests that name none.

    Args:
        server: the name of the server, for whoever tidies up after it.
        url: where it is.
        default: the model of requests that name none; the server's other models are served, too.
        host: the address to listen on.
        port: likewise; 0 for a free one. The gateway says itself where it listens.
        allow_hosts: further names that requests may have in `Host`.

    Raises:
        ToolError: the port is in use.
    """

    def __init__(
        self, server: str, url: str, default: str, *, host: str, port: int, allow_hosts: Sequence[str] = ()
    ) -> None:
        # chosen here, so that it stays the same
        address = ports.resolve_host(host)
        chosen = port or ports.choose_ports(address, http=0, grpc=0, metrics=0).http
        self.url = f"http://{ports.in_url(ports.reachable(address))}:{chosen}"
        prologue = [sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(os.getpid())]
        command = [
            sys.executable,
            "-m",
            "maskserve_tools.cli",
            "gateway",
            "--url",
            url,
            "--model",
            default,
            "--all-models",
        ]
        self._line = [*prologue, *command, "--model", default, "--host", host, "--port", str(chosen)]
        self._line += [f"--allow-host={name}" for name in allow_hosts]
        self.default = default
        self._environment = {**os.environ, MARKER: server}
        self._backoff = Backoff(None)
        self._due: float | None = None
        self._begin()

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._popen.poll()

    def keep_alive(self, *, restart: bool) -> None:
        """Start it again if it has died. Call it often.

        Args:
            restart: False raises instead.

        Raises:
            ToolError: it has ended in order, as it does where it cannot serve at all, or starting it again is no use.
        """
        now, code = time.monotonic(), self.exit_code
        if code is None:
            if self._backoff.answered is None and now - self._begun > _GRACE:
                self._backoff.started(now)
            return
        if self._due is not None:
            if now >= self._due:
                self._begin()
            return
        # a signal's number is negative, and the gateway itself ends with 0, 1 or 2
        pause = self._backoff.died(now) if restart and code < 0 else None
        if pause is None:
            raise ToolError(f"the REST service ended by itself (exit code {code})")
        _log.warning("the REST service has died (exit code %d); it is started again on the same port", code)
        session.kill(self._popen.pid)
        self._due = now + pause

    def stop(self) -> None:
        """Let it answer what it has been asked, for up to ten seconds, and end it."""
        self._popen.terminate()
        try:
            self._popen.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        session.kill(self._popen.pid)  # a worker that is frozen
        self._popen.wait()

    def _begin(self) -> None:
        # Ctrl-C at the terminal is for us, who then stop it before the server that it asks
        self._popen = subprocess.Popen(
            self._line, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._begun, self._due = time.monotonic(), None

    def __enter__(self) -> GatewayProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
