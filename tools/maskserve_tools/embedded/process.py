"""One tritonserver process and its stubs: started so that they cannot outlive us, stopped so that nothing stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_tools.embedded import launcher, session
from maskserve_tools.embedded.log import TritonLog

_POLL = 0.05


class TritonProcess:
    """A running tritonserver, in a session of its own.

    Args:
        command: the executable and its arguments.
        environment: all its environment variables.
        log: takes what it writes.
        inherited: file descriptors to hand down.

    Raises:
        ToolError: it could not be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: TritonLog, inherited: Sequence[int] = ()
    ) -> None:
        prologue = [sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(os.getpid())]
        self._command = [*prologue, *command]
        self._environment = dict(environment)
        self._log = log
        self._inherited = tuple(inherited)
        self._popen: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._spawned = threading.Event()
        # The system's "parent died" means the thread that forked. This one lives until the server's last word.
        self._thread = threading.Thread(target=self._spawn_and_drain, name="tritonserver", daemon=True)
        self._thread.start()
        self._spawned.wait()
        if self._failure is not None:
            raise ToolError(f"tritonserver could not be started: {self._failure}")

    @property
    def pid(self) -> int:
        """The process id of tritonserver, which is also the id of its session."""
        assert self._popen is not None
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        assert self._popen is not None
        return self._popen.poll()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end; None when `timeout` seconds passed before."""
        assert self._popen is not None
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, *, grace: float) -> None:
        """Stop: let requests in flight finish, for up to `grace` seconds, then leave no process behind.

        Triton takes its time even when it is done, and an open HTTP connection, however idle, makes it wait for its
        whole exit timeout. So it is killed as soon as its stubs are gone, or when all it does is wait.

        Args:
            grace: for how long a request that is being computed holds up the end.
        """
        try:
            with contextlib.suppress(ProcessLookupError):
                if self.exit_code is None:
                    os.kill(self.pid, signal.SIGTERM)
            self._wait_until_idle(time.monotonic() + grace)
        finally:
            self.kill()

    def kill(self) -> None:
        """End tritonserver and all its stubs now."""
        session.kill(self.pid)
        self.wait(timeout=5)
        self._thread.join(timeout=5)

    def _wait_until_idle(self, deadline: float) -> None:
        watch = session.QuietWatch(self.pid)
        while self.exit_code is None and len(session.members(self.pid)) > 1 and time.monotonic() < deadline:
            # A connection that was about to close is gone at the second look, and the models are unloaded in order.
            if watch.is_quiet() and self._log.looks_at_connections > 1:
                return
            time.sleep(_POLL)

    def _spawn_and_drain(self) -> None:
        try:
            self._popen = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal is for us, who then stop it in the right order
                pass_fds=self._inherited,
            )
        except OSError as error:
            self._failure = error
            return
        finally:
            self._spawned.set()
        assert self._popen.stdout is not None
        with self._popen.stdout as output:
            for line in output:
                self._log.append(line.decode("utf-8", "replace").rstrip("\n"))
