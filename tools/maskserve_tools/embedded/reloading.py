"""A running server goes over to what its repository holds now."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from maskserve_tools.embedded.launch import GRACE, Launch
from maskserve_tools.embedded.served_entries import Entry, client_facing
from maskserve_tools.embedded.survey import BrokenEntry, Survey

_POLL = 0.05
_UNLOADING = 60.0  # seconds that a model's requests may hold up its unloading


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did.

    Attributes:
        loaded: the models that are new, or are others than before.
        removed: the models that are not in the repository any more.
        broken: the entries that are not served as the repository has them, and why.
        kept: of these, the models that are served as they were before.
    """

    loaded: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broken: tuple[BrokenEntry, ...] = ()
    kept: tuple[str, ...] = ()


class Starter(Protocol):
    """Surveys the repository and starts servers: `maskserve_tools.embedded.start.Start`."""

    @property
    def ready_timeout(self) -> float:
        """How many seconds models have to get ready."""

    def survey(self) -> Survey:
        """Return the entries to serve."""

    def on_free_ports(self) -> Starter:
        """Return a starter for a trial."""

    def launch(self, entries: Sequence[Entry]) -> tuple[Launch, dict[str, str]]:
        """Start a server; the reasons of what is broken, by name."""


def reload(running: Launch, served: Survey, start: Starter) -> tuple[Survey, Reloaded]:
    """Let `running` serve what the repository holds now.

    Args:
        running: the server.
        served: what it serves.
        start: how to look at the repository, and to start the server of the trial.

    Returns:
        What it serves then, and what was done.

    Raises:
        ToolError: the repository is gone, the trial cannot be started, or a model was converted again meanwhile.
    """
    found = start.survey()
    changed = _whole_models(found.entries, {e.name for e in found.entries if running.folder.differs(e)})
    if changed:
        found = found.without(_trial(start, changed))
    before, names = {entry.name for entry in served.entries}, {entry.name for entry in found.entries}
    broken = {entry.name for entry in found.broken}
    kept = [e for e in served.entries if e.name not in names and _belongs(e.name, broken)]
    changed = [entry for entry in changed if entry.name in names]
    gone = before - names - {entry.name for entry in kept}
    taken = running.folder.take(changed)  # where one was converted again meanwhile, everything stays as it is
    running.folder.remove([*gone, *(entry.name for entry in changed)])
    _wait_until_unloaded(running, before & {*gone, *(entry.name for entry in changed)})
    running.folder.discard([*gone, *(entry.name for entry in changed)])
    running.folder.show(taken)
    failures = running.find_broken(changed, start.ready_timeout) if changed else {}
    now = Survey([*found.entries, *kept], found.broken).without(failures)
    running.folder.remove({entry.name for entry in changed} - {entry.name for entry in now.entries})
    return now, Reloaded(
        loaded=_public(changed, now),
        removed=tuple(sorted(gone & set(client_facing(served.entries)))),
        broken=tuple(now.broken),
        kept=tuple(name for name in client_facing(served.entries) if name in {entry.name for entry in kept}),
    )


def _public(changed: Sequence[Entry], now: Survey) -> tuple[str, ...]:
    names = {entry.name for entry in changed}
    return tuple(name for name in client_facing(now.entries) if name in names)


def _trial(start: Starter, entries: Sequence[Entry]) -> dict[str, str]:
    """Return why entries cannot be served, found out in a server of their own."""
    started, failures = start.on_free_ports().launch(entries)
    started.stop(grace=0)
    return failures


def _whole_models(entries: Sequence[Entry], changed: Collection[str]) -> list[Entry]:
    """Return the changed entries, and those that work together with one: they are exchanged together."""
    names, size = set(changed), -1
    while size != len(names):
        size = len(names)
        for entry in entries:
            group = {entry.name, *entry.steps}
            if group & names and entry.steps:
                names |= group
    return [entry for entry in entries if entry.name in names]


def _belongs(name: str, broken: Iterable[str]) -> bool:
    """Return whether an entry is broken or part of a broken model; what else is gone was removed."""
    return any(name == other or name.startswith(f"{other}.") for other in broken)


def _wait_until_unloaded(running: Launch, names: Iterable[str]) -> None:
    deadline = time.monotonic() + _UNLOADING + GRACE
    for name in names:
        while _is_ready(running, name) and time.monotonic() < deadline:
            time.sleep(_POLL)


def _is_ready(running: Launch, name: str) -> bool:
    try:
        return running.endpoint.request("GET", f"/v2/models/{quote(name)}/ready", timeout=2.0)[0] == 200
    except OSError:
        return False
