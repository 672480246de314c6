"""Waiting for a server until each of its models has really answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from maskserve.errors import ToolError
from maskserve_tools.serving.canary import HttpEndpoint, send_test_picture
from maskserve_tools.serving.log import TritonLog
from maskserve_tools.serving.ports import PortTaken
from maskserve_tools.serving.process import TritonProcess
from maskserve_tools.serving.repository import Entry

_POLL = 0.05
_PROBE_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class StartingServer:
    """A server that was launched and may not be ready yet.

    Attributes:
        process: it.
        log: what it says.
        endpoint: its HTTP service.
        identity: the name it was given, to tell it from another server that answers at its port.
        timeout: how many seconds it has, in all.
        deadline: when they are over, on the monotonic clock.
    """

    process: TritonProcess
    log: TritonLog
    endpoint: HttpEndpoint
    identity: str
    timeout: float
    deadline: float

    def wait_until_ready(self, entries: Sequence[Entry]) -> None:
        """Wait until the server and all `entries` are ready and those of ours segmented a test picture.

        Raises:
            ToolError: the server died, a model is broken, or the time is over; the reason comes from Triton's log.
            PortTaken: somebody else took a port meanwhile.
        """
        self._wait_for("the server", self._is_ours)
        self._wait_for("the server", lambda: self._is_ready("/v2/health/ready"))
        for entry in entries:
            self._wait_for(entry.name, partial(self._is_ready, f"/v2/models/{quote(entry.name)}/ready"))
        for entry in entries:
            if entry.takes_pictures:
                self._try_out(entry)

    def _wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        while not condition():
            self._check_alive()
            if time.monotonic() > self.deadline:
                late = f"{what} was not ready within {self.timeout:g} s (--ready-timeout gives it longer)"
                raise ToolError(late + self.log.explain())
            time.sleep(_POLL)

    def _try_out(self, entry: Entry) -> None:
        try:
            send_test_picture(self.endpoint, entry, timeout=max(1.0, self.deadline - time.monotonic()))
        except OSError as error:
            self.process.wait(timeout=2)
            self._check_alive()
            raise ToolError(f"{entry.name} broke off while it segmented a test picture: {error}") from error
        except ToolError as error:
            problems = self.log.explain() if self.log.errors() else ""
            raise ToolError(error.message + problems) from error

    def _is_ours(self) -> bool:
        try:
            status, answer = self.endpoint.request("GET", "/v2", timeout=_PROBE_TIMEOUT)
            return status == 200 and json.loads(answer)["name"] == self.identity
        except (OSError, ValueError, KeyError, TypeError):  # nobody, or something that is not Triton
            return False

    def _is_ready(self, path: str) -> bool:
        try:
            return self.endpoint.request("GET", path, timeout=_PROBE_TIMEOUT)[0] == 200
        except OSError:
            return False

    def _check_alive(self) -> None:
        if self.log.endpoint_failure is not None:
            kind = PortTaken if "already in use" in self.log.endpoint_failure else ToolError
            raise kind(f"tritonserver could not open a port: {self.log.endpoint_failure}")
        code = self.process.exit_code
        if code is not None:
            raise ToolError(f"tritonserver stopped while it started (exit code {code}):{self.log.explain()}")
