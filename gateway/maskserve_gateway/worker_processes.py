"""The gateway's worker processes: one that dies is started again, and one that freezes is killed before.

uvicorn's own supervisor does most of it. Ours also supervises a single worker, waits between starts that fail, does not
wait for a frozen worker when it stops, and says what happened.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from maskserve.backoff import Backoff

if TYPE_CHECKING:
    from socket import socket

    from uvicorn import Config

_FROZEN = 3.0  # seconds without an answer to a ping, which a thread of its own gives
_SLOW_START = 60.0
_POLL = 0.1
_log = logging.getLogger("maskserve.gateway")


@dataclass(slots=True)
class Watch:
    """What is known of one worker.

    Attributes:
        begun: when its process was started, on the monotonic clock.
        pinged: when the ping was sent that it has not answered; None where it has answered all.
        answered: whether it has ever answered one.
    """

    begun: float = field(default_factory=time.monotonic)
    pinged: float | None = None
    answered: bool = False

    def is_frozen(self, process: Process, now: float) -> bool:
        """Take the answers of a worker, and send it a ping. Return whether it has answered none for too long."""
        with suppress(OSError, EOFError):
            while process.parent_conn.poll():
                process.parent_conn.recv()
                self.pinged, self.answered = None, True
            if self.pinged is None:
                process.parent_conn.send(b"ping")
                self.pinged = now
        return now - (self.pinged or now) > (_FROZEN if self.answered else _SLOW_START)


class Workers(Multiprocess):
    """Runs the workers until a signal asks to stop.

    Args:
        config: uvicorn's settings, with the number of workers.
        sockets: what they listen on.

    Attributes:
        failure: why the gateway has ended by itself; None where it has been asked to.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        hangup = signal.getsignal(signal.SIGHUP)
        super().__init__(config, sockets)
        if hangup == signal.SIG_IGN:  # as nohup sets it
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.failure: str | None = None
        self._watches: dict[int, Watch] = {}
        self._backoffs: dict[int, Backoff] = {}
        self._due: dict[int, float] = {}

    def keep_subprocess_alive(self) -> None:
        """Start dead workers again, and kill frozen ones. uvicorn calls it twice a second."""
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            self._look_at(index, process, time.monotonic())

    def handle_hup(self) -> None:
        """Stop, when the terminal is closed."""
        self.should_exit.set()

    def terminate_all(self) -> None:
        """Ask all workers to end."""
        for process in self.processes:
            if process.process.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(process.process.pid or 0, signal.SIGTERM)

    def join_all(self) -> None:
        """Wait for the requests under way, but not for a worker that is frozen."""
        while alive := [(n, process) for n, process in enumerate(self.processes) if process.process.is_alive()]:
            for index, process in alive:
                self._kill_if_frozen(index, process, time.monotonic())
            time.sleep(_POLL)

    def _look_at(self, index: int, process: Process, now: float) -> None:
        if index in self._due:
            if now >= self._due[index]:
                del self._due[index]
                self._start(index)
            return
        self._kill_if_frozen(index, process, now)
        watch, backoff = self._watch(index)
        if process.process.is_alive():
            if watch.answered and backoff.answered is None:
                backoff.started(now)
            return
        process.process.join()
        process.kill()  # closes the pipe
        if process.exitcode == STARTUP_FAILURE:
            self._fail("a worker could not start; the lines above say why")
        elif (pause := backoff.died(now)) is None:
            self._fail(f"five workers in a row have died before they served ({_ended(process.exitcode)})")
        else:
            _log.warning("a worker of the gateway has died (%s); it is started again", _ended(process.exitcode))
            self._due[index] = now + pause

    def _kill_if_frozen(self, index: int, process: Process, now: float) -> None:
        if process.process.is_alive() and self._watch(index)[0].is_frozen(process, now):
            _log.warning("a worker of the gateway does not answer any more; its process is killed")
            process.process.kill()
            process.process.join()

    def _start(self, index: int) -> None:
        self.processes[index] = Process(self.config, self.sockets)
        self._watches[index] = Watch()
        self.processes[index].start()

    def _watch(self, index: int) -> tuple[Watch, Backoff]:
        return self._watches.setdefault(index, Watch()), self._backoffs.setdefault(index, Backoff(None))

    def _fail(self, why: str) -> None:
        self.failure = why
        self.should_exit.set()


def _ended(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
