"""Loads entries anew whose processes have died, in the tritonserver that runs."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from maskserve.backoff import Backoff
from maskserve_tools.embedded import session
from maskserve_tools.embedded.served_entries import Entry, client_facing
from maskserve_tools.embedded.serving import Serving
from maskserve_tools.embedded.started import Started
from maskserve_tools.embedded.stubs import Stub, find_stubs, missing_instances

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_DEAF = 15.0  # seconds in which Triton must have begun to load an entry; it looks for changes once a second
_WAITING = 0.2  # the share that counts of the time for which a process waited for a processor
_log = logging.getLogger("maskserve")


@dataclass(slots=True)
class Revival:
    """An entry that has to be loaded anew.

    Attributes:
        died: when it was found dead, on the monotonic clock.
        due: when it may be loaded.
        begun: when Triton was told to; None before.
        loads: how many loads of it had ended then.
        loaded: whether the load has succeeded, and only the proof is still to come.
    """

    died: float
    due: float
    begun: float | None = None
    loads: int = 0
    loaded: bool = False


class Reviving:
    """The python entries of a server and their processes.

    Args:
        serving: the server, which has just started.
    """

    def __init__(self, serving: Serving[Started]) -> None:
        self._serving = serving
        self._backoffs: dict[str, Backoff] = {}  # of entries whose processes die
        self._patience: dict[str, Backoff] = {}  # with models that do not answer
        self._revivals: dict[str, Revival] = {}
        self._hopeless: set[str] = set()  # models that fail though their processes live
        self._hanging: str | None = None  # what is wrong with the only model
        self.stubs: list[Stub] = []
        self.adopt()

    def adopt(self) -> None:
        """Take the processes that are there for those to watch; what is missing is found out at the next look."""
        self._adopted = self._serving.survey
        self.stubs = find_stubs(self._serving.launch.process.pid)
        self._unknown = set[str]()
        if not self._serving.launch.known_release:
            self._unknown = missing_instances(self._adopted.entries, self.stubs)
        self._revivals.clear()
        self._hanging = None

    @property
    def _is_alone(self) -> bool:
        """Whether one model is served, or none can be loaded alone. Then tritonserver is started again as a whole.

        That takes as long, and ends the requests that the dead process held, or that wait for it in another step: a
        model that is loaded anew leaves them to their deadlines.
        """
        return not self._serving.launch.loads_single or len(client_facing(self._serving.survey.entries)) == 1

    def look(self, now: float) -> str | None:
        """Find what has died, and go on with what is being loaded anew.

        Returns:
            Why tritonserver has to be started again as a whole; None where it need not be.
        """
        if self._adopted is not self._serving.survey:
            self.adopt()
        server = self._serving.launch.process.pid
        if any(session.member(stub.pid, server) is None for stub in self.stubs):
            gone = [stub for stub in self.stubs if session.member(stub.pid, server) is None]
            self._remove_regions(gone)
            self.stubs = find_stubs(server)
        for name in missing_instances(self._serving.survey.entries, self.stubs) - self._unknown:
            revival = self._revivals.get(name)
            if self._is_alone:
                return f"a process of {name} has died"
            if revival is None or revival.loaded:
                _log.warning("a process of %s has died; it is started again", name)
                self._schedule(name, now, now)
        if self._hanging is not None:
            return self._hanging
        heard = [self._go_on(name, revival, now) for name, revival in list(self._revivals.items())]
        return None if all(heard) else "tritonserver does not load a model anew"

    def broken(self, model: Entry, reason: str, *, hangs: bool) -> None:
        """Load a model anew that does not answer, though its processes are there.

        Args:
            model: it.
            reason: what became of the test image.
            hangs: whether its processes are to be killed.
        """
        names = self._python_entries(model)
        waiting = [self._revivals[name] for name in names if name in self._revivals]
        if any(not revival.loaded for revival in waiting) or model.name in self._hopeless:
            return
        now = time.monotonic()
        pause = self._patience.setdefault(model.name, Backoff(now)).died(now)
        if pause is None:
            self._hopeless.add(model.name)
            _log.error("%s goes on failing, and is not started again any more until it answers: %s", model.name, reason)
            return
        if self._is_alone:
            self._hanging = reason
            return
        _log.warning("%s; it is started again", reason)
        if hangs:
            self._kill(stub for stub in self.stubs if stub.entry in names)
        for name in names:
            self._revivals[name] = Revival(now, now + pause)

    def answered(self, model: Entry) -> None:
        """Take note of a model's answer."""
        now = time.monotonic()
        self._hopeless.discard(model.name)
        patience = self._patience.get(model.name)
        if patience is not None and patience.answered is None:
            patience.started(now)
        for name in self._python_entries(model):
            revival = self._revivals.get(name)
            if revival is not None and revival.loaded:
                self._revivals.pop(name, None)
                _log.warning("%s answers again, after %.1f s", name, now - revival.died)

    def awaits_proof(self, model: Entry) -> bool:
        """Return whether a part of a model has been loaded anew and has not answered yet."""
        return any(self._revivals[name].loaded for name in self._python_entries(model) if name in self._revivals)

    def give_up(self, failures: Mapping[str, str]) -> None:
        """Serve these entries no longer, and say so once.

        Args:
            failures: the reasons by the names of the entries.
        """
        for name in failures:
            self._revivals.pop(name, None)
        before = {entry.name for entry in self._serving.survey.entries}
        self._serving.take_out(failures)
        lost = sorted(before - {entry.name for entry in self._serving.survey.entries})
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        _log.error(
            "%s cannot be started again and is given up, the other models go on. Fix it (`maskserve doctor` may find"
            " the cause), then convert it with --reload URL, or restart the server. %s",
            ", ".join(lost),
            reasons,
        )

    def seconds_computed(self, model: Entry) -> float:
        """Return how much processor time the processes of a model have used, and a share of that which they waited for.

        On a machine that has too much to do they may get next to none: they do not hang, and started again they would
        get no more. An idle process waits a little, too, whenever it wakes up; so the whole of it does not count.

        All processes count where a part of the model runs inside tritonserver, or in processes that were not found.
        """
        names, server = self._python_entries(model), self._serving.launch.process.pid
        if names & self._unknown or self._runs_inside(model):
            return sum(process.ticks for process in session.members(server)) / _TICKS_PER_SECOND
        stubs = {stub.pid for stub in self.stubs if stub.entry in names}
        # what decodes images for a model is a process of its own
        found = [process for process in session.members(server) if {process.pid, process.parent} & stubs]
        waited = sum(session.seconds_waited(process.pid) for process in found)
        return sum(process.ticks for process in found) / _TICKS_PER_SECOND + _WAITING * waited

    def _schedule(self, name: str, died: float, now: float) -> None:
        """Let an entry be loaded anew, or give it up."""
        pause = self._backoffs.setdefault(name, Backoff(now)).died(now)
        if pause is None:
            self.give_up({name: f"five starts in a row have failed{self._serving.launch.log.explain()}"})
        else:
            self._revivals[name] = Revival(died, now + pause)

    def _go_on(self, name: str, revival: Revival, now: float) -> bool:
        log = self._serving.launch.log
        if revival.begun is None:
            if now >= revival.due:
                revival.begun, revival.loads = now, log.loads[name]
                self._serving.launch.load_anew(name)
            return True
        if log.loads[name] > revival.loads:
            self._on_loaded(name, revival, now)
        elif name in log.loading:
            if now - revival.begun > self._serving.ready_timeout:
                self._kill(stub for stub in find_stubs(self._serving.launch.process.pid) if stub.entry == name)
                revival.begun = now
        elif not log.loading and now - revival.begun > _DEAF:
            return False
        return True

    def _on_loaded(self, name: str, revival: Revival, now: float) -> None:
        if revival.loaded:
            return
        self.stubs = find_stubs(self._serving.launch.process.pid)
        if name in missing_instances(self._serving.survey.entries, self.stubs):
            del self._revivals[name]
            self._schedule(name, revival.died, now)
            return
        revival.loaded = True
        if name in self._backoffs:
            self._backoffs[name].started(now)
        if not any(name in self._python_entries(e) for e in self._serving.survey.entries if e.takes_images):
            del self._revivals[name]
            _log.warning("%s is loaded again, after %.1f s", name, now - revival.died)

    def run_inside(self, names: Iterable[str]) -> set[str]:
        """Return those of these models that have a part in tritonserver itself, which they can end."""
        named = set(names)
        return {e.name for e in self._serving.survey.entries if e.name in named and self._runs_inside(e)}

    def _runs_inside(self, model: Entry) -> bool:
        """Return whether a part of a model runs in another backend than the python one."""
        backends = {entry.name: entry.config.backend for entry in self._serving.survey.entries}
        return any(backends.get(name) not in ("python", "") for name in (model.name, *model.steps))

    def _python_entries(self, model: Entry) -> set[str]:
        backends = {entry.name: entry.config.backend for entry in self._serving.survey.entries}
        return {name for name in (model.name, *model.steps) if backends.get(name) == "python"}

    def _remove_regions(self, gone: Iterable[Stub]) -> None:
        """Remove the regions of stubs that died, which Triton leaves."""
        for stub in gone:
            if stub.region.startswith(self._serving.launch.regions.prefix):
                (self._serving.launch.regions.directory / stub.region).unlink(missing_ok=True)

    @staticmethod
    def _kill(stubs: Iterable[Stub]) -> None:
        for stub in stubs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stub.pid, signal.SIGKILL)
