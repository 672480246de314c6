"""The supervisor around another tritonserver than the embedded one: that of the container's image."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from maskserve.errors import ToolError
from maskserve_tools.embedded import shared_memory
from maskserve_tools.embedded.canary import send_test_image
from maskserve_tools.embedded.log import TritonLog
from maskserve_tools.embedded.ports import Ports
from maskserve_tools.embedded.process import TritonProcess
from maskserve_tools.embedded.served_entries import Entry
from maskserve_tools.embedded.serving import Serving
from maskserve_tools.embedded.shared_memory import RegionNamespace
from maskserve_tools.embedded.started import Started
from maskserve_tools.embedded.supervisor import Supervisor
from maskserve_tools.embedded.survey import Survey

READY_SECONDS = 3600.0  # TensorRT compiles for minutes
_LOOK = 0.5
_ANSWER_SECONDS = 60.0  # for the first image, which compiles
_log = logging.getLogger("maskserve")


class ContainerLaunch(Started):
    """A tritonserver that serves a repository in place, and loads models at its start only."""

    __slots__ = ()

    @classmethod
    def start(cls, command: Sequence[str], address: str, chosen: Ports) -> ContainerLaunch:
        """Start it; all that it writes goes to stderr.

        Args:
            command: its command line.
            address: where that lets it listen.
            chosen: likewise.

        Raises:
            ToolError: it cannot be started.
        """
        binary = shutil.which(command[0])
        if binary is None:
            raise ToolError(f"there is no {command[0]} on PATH")
        with contextlib.ExitStack() as resources:
            log = TritonLog(sys.stderr, verbose=True)
            regions = RegionNamespace.claim()
            resources.callback(regions.release)
            # In front, so that who starts it can choose another prefix.
            line = [binary, f"--backend-config=python,shm-region-prefix-name={regions.prefix}", *command[1:]]
            inherited = (regions.descriptor,)
            process = TritonProcess(line, os.environ, log, inherited)
            return cls(address, chosen, process, log, regions, line, os.environ, inherited, resources.pop_all())

    def find_broken(self, entries: Sequence[Entry], timeout: float) -> dict[str, str]:
        """See `Started`. Triton opens its ports when it has tried to load all models."""
        deadline = time.monotonic() + timeout
        while not self._says_yes("/v2/health/live"):
            if (code := self.process.exit_code) is not None:
                raise ToolError(f"tritonserver stopped while it started (exit code {code})")
            if time.monotonic() > deadline:
                raise ToolError(f"tritonserver was not ready within {timeout:g} s")
            time.sleep(_LOOK)
        failures = {
            e.name: "it is not loaded" for e in entries if not self._says_yes(f"/v2/models/{quote(e.name)}/ready")
        }
        for entry in entries:
            if entry.takes_images and entry.name not in failures:
                try:
                    send_test_image(self.endpoint, entry, timeout=_ANSWER_SECONDS)
                except (OSError, ToolError) as error:
                    failures[entry.name] = str(error)
        return failures

    def remove(self, names: Iterable[str]) -> None:
        """Leave the entries to Triton, which says of each request that it cannot be answered."""

    def _says_yes(self, path: str) -> bool:
        try:
            return self.endpoint.request("GET", path, timeout=2.0)[0] == 200
        except OSError:
            return False


def supervise(
    command: Sequence[str],
    found: Survey,
    *,
    address: str,
    chosen: Ports,
    grace: float,
    ready_timeout: float = READY_SECONDS,
) -> int:
    """Run tritonserver until SIGTERM or SIGINT, and start it again when it, or a process of a model, dies or freezes.

    Until the first models have answered nothing is started again: if tritonserver ends before, that is the end.

    Args:
        command: tritonserver and its flags.
        found: the entries that it serves.
        address: where it listens.
        chosen: likewise.
        grace: how many seconds requests under way have at the end.
        ready_timeout: how many seconds the models have to get ready.

    Returns:
        The exit status: 0 after a signal; that of tritonserver where it ended before it was ready; 1 where it could not
        be started again.

    Raises:
        ToolError: it cannot be started.
    """
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    shared_memory.remove_stale()
    launch = ContainerLaunch.start(command, address, chosen)
    serving = Serving[Started](launch, found, ready_timeout)
    supervisor: Supervisor | None = None
    first = _FirstAnswers(serving)
    try:
        while not asked_to_stop.wait(_LOOK):
            _reap()
            if supervisor is None:
                if (code := launch.process.exit_code) is not None:
                    return code if code >= 0 else 128 - code
                if first.done.is_set():
                    supervisor = Supervisor(serving)
                    supervisor.start()
            elif supervisor.given_up.is_set():
                return 1
        return 0
    finally:
        if supervisor is not None:
            supervisor.stop()
        launch.stop(grace=grace)
        if supervisor is not None:
            supervisor.join()


class _FirstAnswers:
    """Waits, on a thread of its own, until the models have answered; those that do not are not watched."""

    def __init__(self, serving: Serving[Started]) -> None:
        self.done = threading.Event()
        self._serving = serving
        threading.Thread(target=self._wait, name="maskserve-first-answers", daemon=True).start()

    def _wait(self) -> None:
        serving = self._serving
        try:
            failures = serving.launch.find_broken(serving.survey.entries, serving.ready_timeout)
        except ToolError as error:
            _log.error("%s; nothing is started again", error.message)
            return
        serving.take_out(failures)
        for broken in serving.survey.broken:
            _log.warning("%s is broken, and is not watched: %s", broken.name, broken.reason)
        if any(entry.takes_images for entry in serving.survey.entries):
            self.done.set()
        else:
            _log.error("no model answers; nothing is started again")


def _reap() -> None:
    """Take note of the end of orphans: in a container this program is the parent of all that have lost theirs."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(stat.parent.name)
            fields = stat.read_text(errors="replace", encoding="utf-8").rpartition(")")[2].split()
            # tritonserver itself leads its session; whoever started it waits for it
            if fields[0] == "Z" and int(fields[1]) == os.getpid() and int(fields[3]) != pid:
                os.waitpid(pid, os.WNOHANG)
