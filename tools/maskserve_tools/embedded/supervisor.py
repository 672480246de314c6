"""Starts again what died or froze: tritonserver, or the processes of one model.

Triton has not restarted the processes of python models since 24.05, and its health stays "ready" without them. So the
processes are looked at four times a second, and the models' answers once a second (see `proof`). Where several models
are served, a dead process has its entry loaded anew by the running tritonserver, and the others go on. Where there is
one, and where tritonserver itself has died, that is started again, on the same ports. What freezes is killed first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time

from maskserve.backoff import Backoff
from maskserve.errors import ToolError
from maskserve_tools.embedded import session
from maskserve_tools.embedded.proof import Prober
from maskserve_tools.embedded.reviving import Reviving
from maskserve_tools.embedded.served_entries import Entry
from maskserve_tools.embedded.serving import Serving
from maskserve_tools.embedded.started import Started

_LOOK = 0.25
_FROZEN = 1.0  # seconds for which a process may be stopped by a signal
_SILENT = 6.0  # seconds for which tritonserver may give no answer and not compute either
_IDLE_TICKS = 5  # hundredths of a second that an idle tritonserver may use meanwhile
_log = logging.getLogger("maskserve")


class Supervisor:
    """Watches one server until it is stopped.

    Args:
        serving: the server, which has just started.

    Attributes:
        given_up: set when tritonserver has died and could not be started again.
    """

    def __init__(self, serving: Serving[Started]) -> None:
        self.given_up = threading.Event()
        self._serving = serving
        self._stopping = threading.Event()
        self._stopped_since: dict[int, float] = {}
        self._silent_since: tuple[float, int] | None = None
        self._backoff = Backoff(time.monotonic())
        self._reviving = Reviving(serving)
        self._prober = Prober(
            serving.launch.endpoint,
            entries=lambda: serving.survey.entries,
            computes=self._reviving.seconds_computed,
            broken=self._on_broken,
            well=self._reviving.answered,
            awaited=self._reviving.awaits_proof,
        )
        self._last_look = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="maskserve-supervisor", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()
        self._prober.start()

    def stop(self) -> None:
        """Start nothing again any more. The server may be stopped after that."""
        self._stopping.set()
        self._prober.stop()

    def join(self) -> None:
        """Wait until nothing is done any more, after the server has been stopped."""
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK) and not self.given_up.is_set():
            if self._serving.changing.acquire(blocking=False):
                try:
                    self._look()
                except Exception:
                    _log.exception("the supervisor of the embedded server failed, and goes on")
                finally:
                    self._serving.changing.release()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._last_look > 8 * _LOOK:  # this program was stopped itself, or the machine was
            self._stopped_since.clear()
            self._prober.forget()
        self._last_look = now
        process = self._serving.launch.process
        if process.exit_code is not None:
            self._restart(_ended(process.exit_code))
        elif self._is_frozen(process.pid, now):
            self._restart("tritonserver was stopped by a signal (SIGSTOP)")
        elif self._is_silent(process.pid, now):
            self._restart(f"tritonserver has not answered for {_SILENT:.0f} s, and does not compute either")
        else:
            self._kill_frozen(now)
            if (why := self._reviving.look(now)) is not None:
                self._restart(why)
        self._last_look = time.monotonic()

    def _is_frozen(self, pid: int, now: float) -> bool:
        process = session.member(pid, self._serving.launch.process.pid)
        if process is None or process.state != "T":
            self._stopped_since.pop(pid, None)
            return False
        return now - self._stopped_since.setdefault(pid, now) >= _FROZEN

    def _is_silent(self, pid: int, now: float) -> bool:
        """Return whether tritonserver has neither answered nor computed for a while."""
        process = session.member(pid, pid)
        if process is None or not self._prober.silent:
            self._silent_since = None
            return False
        if self._silent_since is None or process.ticks - self._silent_since[1] > _IDLE_TICKS:
            self._silent_since = now, process.ticks
        return now - self._silent_since[0] >= _SILENT

    def _kill_frozen(self, now: float) -> None:
        """Kill the stubs that were stopped: Triton crashes when one goes on that it has given up."""
        for stub in self._reviving.stubs:
            if self._is_frozen(stub.pid, now):
                _log.warning("%s was stopped by a signal (SIGSTOP); its process is killed", stub.entry)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stub.pid, signal.SIGKILL)

    def _on_broken(self, entry: Entry, reason: str, hangs: bool) -> None:
        with self._serving.changing:
            if not self._stopping.is_set():
                self._reviving.broken(entry, reason, hangs=hangs)

    def _restart(self, why: str) -> None:
        """Start tritonserver again, as often as is sensible."""
        began, serving = time.monotonic(), self._serving
        tried_out: set[str] = set()
        _log.warning("%s; tritonserver is started again on the same ports", why)
        while (pause := self._backoff.died(time.monotonic())) is not None:
            if self._stopping.wait(pause):
                return
            failures = dict[str, str]()
            try:
                serving.launch.restart()
                failures = serving.launch.find_broken(serving.survey.entries, serving.ready_timeout)
            except ToolError as error:
                if self._stopping.is_set():
                    return
                why = error.message
            else:
                if not failures:
                    self._backoff.started(time.monotonic())
                    self._stopped_since.clear()
                    self._reviving.adopt()
                    self._prober.forget()
                    _log.warning("tritonserver answers again, after %.1f s", time.monotonic() - began)
                    return
                why = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
            suspects = failures or {entry.name for entry in serving.survey.entries}
            if serving.launch.was_killed and not self._reviving.run_inside(suspects):
                # It starts, and no model can end it. Whoever does, perhaps a client, shall not get a model given up by
                # that, nor the server.
                self._backoff.started(time.monotonic())
                continue
            # it failed twice, and others get a server without it
            if tried_out & failures.keys() and serving.survey.without(failures).entries:
                self._reviving.give_up(failures)
            tried_out |= failures.keys()
        _log.error(
            "tritonserver cannot be started again, nothing is served any more: fix the cause, and start it anew. %s",
            why,
        )
        serving.launch.process.kill()
        self.given_up.set()


def _ended(code: int) -> str:
    if code >= 0:
        return f"tritonserver has ended (exit code {code})"
    with contextlib.suppress(ValueError):
        return f"tritonserver has died ({signal.Signals(-code).name})"
    return f"tritonserver has died (signal {-code})"
