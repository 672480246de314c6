"""A tritonserver that has been started: its processes, and what its end must clean up."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from maskserve.errors import ToolError
from maskserve_tools.embedded import ports
from maskserve_tools.embedded.canary import HttpEndpoint
from maskserve_tools.embedded.log import TritonLog
from maskserve_tools.embedded.ports import Ports
from maskserve_tools.embedded.process import TritonProcess
from maskserve_tools.embedded.served_entries import Entry
from maskserve_tools.embedded.shared_memory import RegionNamespace


@dataclass(slots=True)
class Started(ABC):
    """Everything that one start of tritonserver made.

    Attributes:
        loads_single: whether a single model can be loaded anew while the others go on.
        known_release: whether /proc is known to show the processes of its models. Else a process counts as dead only
            when it was seen alive; the models' answers tell the rest.
        address: where it listens.
        ports: likewise.
        process: it; another one after a restart.
        log: what it says.
        regions: its shared memory, whose prefix is its name.
        command: what starts it.
        environment: its environment variables.
        inherited: the locked files by which others see that it lives.
        resources: what is closed at its end.
    """

    loads_single: ClassVar[bool] = False
    known_release: ClassVar[bool] = False

    address: str
    ports: Ports
    process: TritonProcess
    log: TritonLog
    regions: RegionNamespace
    command: Sequence[str]
    environment: Mapping[str, str]
    inherited: Sequence[int]
    resources: contextlib.ExitStack
    _changing: threading.Lock = field(default_factory=threading.Lock, init=False)
    _stopped: bool = field(default=False, init=False)

    @property
    def endpoint(self) -> HttpEndpoint:
        """Its HTTP service."""
        return HttpEndpoint(ports.reachable(self.address), self.ports.http)

    @property
    def was_killed(self) -> bool:
        """Whether it died of a signal after clients could reach it: one of them may be the cause, and no model."""
        code = self.process.exit_code
        return code is not None and code < 0 and self.log.open

    @abstractmethod
    def find_broken(self, entries: Sequence[Entry], timeout: float) -> dict[str, str]:
        """Wait until each of `entries` is loaded or has failed, and let those of ours segment a test image.

        Returns:
            Why an entry cannot be served, by its name; nothing where all can.

        Raises:
            ToolError: the server itself does not start, or not within `timeout` seconds.
        """

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Serve these entries no longer, as far as that is possible while it runs."""

    def load_anew(self, name: str) -> None:
        """Let an entry be loaded anew; only where `loads_single`."""
        raise NotImplementedError

    def restart(self) -> None:
        """Start tritonserver again, with the same entries on the same ports; what is left of the last one is killed.

        Raises:
            ToolError: it cannot be started, or has been stopped for good.
        """
        with self._changing:
            if self._stopped:
                raise ToolError("the server has been stopped")
            self.process.kill()
            self.regions.clear()
            self.log.forget_start()
            self.process = TritonProcess(self.command, self.environment, self.log, self.inherited)

    def stop(self, *, grace: float) -> None:
        """Stop it for good and clean up; see `TritonProcess.stop`."""
        with self._changing:
            self._stopped = True
        try:
            self.process.stop(grace=grace)
        finally:
            self.resources.close()
