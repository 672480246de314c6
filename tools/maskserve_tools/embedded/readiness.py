"""Waiting for a server until each of its models has really answered."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from maskserve.errors import ToolError
from maskserve_tools.embedded.canary import HttpEndpoint, send_test_image
from maskserve_tools.embedded.log import TritonLog
from maskserve_tools.embedded.ports import PortTaken
from maskserve_tools.embedded.process import TritonProcess
from maskserve_tools.embedded.served_entries import Entry

_POLL = 0.05
_PROBE_TIMEOUT = 2.0
_LINES_OF_A_REASON = 3


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

    def find_broken(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Wait until each of `entries` is loaded or has failed, and let those of ours segment a test image.

        Returns:
            Why an entry cannot be served, by its name; nothing where all can.

        Raises:
            ToolError: the server itself does not start, or in time.
            PortTaken: somebody else took a port meanwhile.
        """
        # Triton opens its ports when every model is loaded or has failed: one that hangs keeps them closed.
        if not self._is_up() and (hanging := self.log.loading & {entry.name for entry in entries}):
            return dict.fromkeys(sorted(hanging), self._late())
        failures = self._not_loaded(entries)
        # The time that broken ones took to load was not for them to use up, nor is that of a test image below.
        deadline = time.monotonic() + self.timeout if failures else self.deadline
        for entry in entries:
            if entry.takes_images and entry.name not in failures and not failures.keys() & set(entry.steps):
                try:
                    self._try_out(entry, timeout=max(1.0, deadline - time.monotonic()))
                except ToolError as error:
                    failures[entry.name] = re.sub(f"^{re.escape(entry.name)} ", "it ", error.message)
                    deadline = time.monotonic() + self.timeout
        return failures

    def _not_loaded(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return the reasons of those that did not load."""
        waiting, failures = {entry.name for entry in entries}, dict[str, str]()
        while waiting:
            for name in sorted(waiting):
                if self._is_ready(f"/v2/models/{quote(name)}/ready"):
                    waiting.discard(name)
            self._check_alive()
            states = self._index()
            failures |= {name: states[name] for name in waiting if states.get(name)}
            waiting -= failures.keys()
            waiting -= {e.name for e in entries if failures.keys() & set(e.steps)}  # they cannot load any more
            if waiting and time.monotonic() > self.deadline:
                return {**failures, **dict.fromkeys(sorted(waiting), self._late())}
            time.sleep(_POLL if waiting else 0)
        return failures

    def _index(self) -> dict[str, str]:
        """Return why models are not loaded, by their names."""
        try:
            status, answer = self.endpoint.request("POST", "/v2/repository/index", body=b"{}", timeout=_PROBE_TIMEOUT)
            models = json.loads(answer) if status == 200 else []
            failed = [model for model in models if model.get("state") == "UNAVAILABLE"]
            reasons = {model["name"]: str(model.get("reason", "")) for model in failed}
            return {name: _first_lines(why) for name, why in reasons.items() if why not in ("", "unloaded")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _is_up(self) -> bool:
        """Wait for the server; whether it is up, and not merely kept from it by a model."""
        while not self._is_ours():
            self._check_alive()
            if time.monotonic() > self.deadline:
                if self.log.loading:
                    return False
                raise ToolError(f"the server: {self._late()}{self.log.explain()}")
            time.sleep(_POLL)
        return True

    def _late(self) -> str:
        return f"it was not ready within {self.timeout:g} s (--ready-timeout gives it longer)"

    def _try_out(self, entry: Entry, timeout: float) -> None:
        try:
            send_test_image(self.endpoint, entry, timeout=timeout)
        except OSError as error:
            self.process.wait(timeout=2)
            self._check_alive()
            raise ToolError(f"{entry.name} broke off while it segmented a test image: {error}") from error

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


def _first_lines(reason: str) -> str:
    """Return what Triton says of a failure, without the traceback behind it."""
    said = reason.partition("\n\nAt:")[0].partition("\nAt:")[0].removeprefix("Internal: ").strip()
    return " / ".join(line.strip() for line in said.splitlines()[:_LINES_OF_A_REASON])
