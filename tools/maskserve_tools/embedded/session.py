"""The processes of one session, as /proc shows them: tritonserver and its stubs, even after it died."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One living process.

    Attributes:
        pid: its id.
        ticks: the processor time it used so far.
        state: the letter of its state, such as "S" for one that sleeps and "T" for one that was stopped by a signal.
        parent: the id of the process that started it.
    """

    pid: int
    ticks: int
    state: str = "S"
    parent: int = 0


def members(session: int) -> list[Process]:
    """Return the processes of `session` that live; a zombie does not."""
    return [
        process
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (process := member(int(entry.name), session)) is not None
    ]


def member(pid: int, session: int) -> Process | None:
    """Return the process `pid`, if it lives and is of `session`."""
    try:
        # The name, in brackets, may hold anything; what follows it is state, parent, group, session, ...
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace", encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    if int(fields[3]) != session or fields[0] in "ZX":
        return None
    return Process(pid, ticks=int(fields[11]) + int(fields[12]), state=fields[0], parent=int(fields[1]))


def seconds_waited(pid: int, where: Path = Path("/proc")) -> float:
    """Return how long the threads of a process have been ready to run and had no processor; 0 where that is not told.

    Args:
        pid: the process.
        where: the folder that tells.
    """
    waited = 0
    for thread in (where / str(pid) / "task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            waited += int(thread.read_text(encoding="ascii").split()[1])
    return waited / 1e9


def kill(session: int, timeout: float = 5.0) -> None:
    """Kill every process of `session` and wait until none is left."""
    deadline = time.monotonic() + timeout
    while (alive := members(session)) and time.monotonic() < deadline:
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.01)


@dataclass(slots=True)
class QuietWatch:
    """Tells when a session has stopped computing, which is when no request can be in flight.

    Attributes:
        session: whose processes count.
        window: how long it must have been quiet, in seconds.
        load: the share of one core that still counts as quiet.
    """

    session: int
    window: float = 1.0
    load: float = 0.1
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def is_quiet(self) -> bool:
        """Return whether the last `window` seconds, as far as they were watched, were quiet. Call it often."""
        now = time.monotonic()
        self._samples.append((now, sum(process.ticks for process in members(self.session))))
        while len(self._samples) > 1 and self._samples[1][0] <= now - self.window:
            self._samples.popleft()
        since, ticks = self._samples[0]
        used = (self._samples[-1][1] - ticks) / _TICKS_PER_SECOND
        return now - since >= self.window and used <= self.load * (now - since)
