"""How servers are started: the first one, one after a reload, one for a trial."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Wanted
from maskserve_server.cpus import usable_cpus
from maskserve_tools.embedded import ports, shared_memory_need
from maskserve_tools.embedded.launch import Launch, launch
from maskserve_tools.embedded.log import TritonLog
from maskserve_tools.embedded.ports import PortTaken
from maskserve_tools.embedded.served_entries import Entry
from maskserve_tools.embedded.sized_entries import sized
from maskserve_tools.embedded.survey import Survey, survey
from maskserve_tools.embedded.triton_wheel import TritonWheel

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Start:
    """How servers are started: what `serve` was asked for.

    Attributes:
        repository: the model repository.
        models: the models to serve; None for all.
        address: where to listen.
        http: a port, or None for a free one.
        grpc: likewise.
        metrics: likewise.
        ready_timeout: how many seconds the models have to get ready.
        log: see `serve`.
        verbose: see `serve`.
        options: further flags for tritonserver.
        asked: instances and threads, instead of what the entries say or the cores allow.
    """

    wheel: TritonWheel
    repository: Path
    models: Sequence[str] | None
    address: str
    http: int | None
    grpc: int | None
    metrics: int | None
    ready_timeout: float
    log: Path | TextIO
    verbose: bool
    options: Sequence[str]
    asked: Wanted

    def survey(self) -> Survey:
        """Return the entries to serve, as they are now."""
        return sized(survey(self.repository, self.models), usable_cpus(), self.asked)

    def on_free_ports(self) -> Start:
        """Return the entries to serve in a trial, beside a server that runs."""
        return replace(self, address="127.0.0.1", http=None, grpc=None, metrics=None, log=Path(os.devnull), options=())

    def launch(self, entries: Sequence[Entry]) -> tuple[Launch, dict[str, str]]:
        """Start a server, and wait until it is known which entries are broken.

        Raises:
            ToolError: the server itself does not start.
        """
        shared_memory_need.check_room(entries, shared_memory_need.free_bytes())
        for attempt in range(_ATTEMPTS):
            chosen = ports.choose_ports(self.address, http=self.http, grpc=self.grpc, metrics=self.metrics)
            log = TritonLog(self.log, verbose=self.verbose)
            started = launch(
                self.wheel,
                entries,
                chosen,
                address=self.address,
                log=log,
                ready_timeout=self.ready_timeout,
                options=self.options,
            )
            is_last = attempt == _ATTEMPTS - 1
            try:
                failures = started.find_broken(entries, self.ready_timeout)
                if is_last or not (failures and started.was_killed):
                    return started, failures
            except PortTaken:
                started.stop(grace=0)
                if is_last or (self.http and self.grpc and self.metrics):
                    raise
            except BaseException as error:
                killed = isinstance(error, ToolError) and started.was_killed
                started.stop(grace=0)
                if is_last or not killed:
                    raise
            started.stop(grace=0)  # a request may have killed it, and no model
        raise AssertionError("the last attempt returns or raises")
