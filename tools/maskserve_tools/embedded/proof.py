"""Proof that models answer: their traffic, or a test image where there is none.

What is measured is Triton's own count of the requests that each model has answered. As long as it grows, nothing else
is asked. A model without traffic gets a test image every few seconds, and the more seldom the longer it takes for one,
so that this costs two percent of the processor at most.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote

from maskserve.errors import ToolError
from maskserve_tools.embedded.canary import HttpEndpoint, send_test_image
from maskserve_tools.embedded.served_entries import Entry

_LOOK = 1.0
_SHORTEST_INTERVAL = 3.0  # seconds between test images
_SHARE = 50  # the interval is at least this many times as long as the answer took
_SHORTEST_DEADLINE = 5.0
_MARGIN = 20  # the deadline of a test image is this many times as long as the last one took
_MOST_FAILURES = 2  # in a row
_LONGEST_WORK = 120.0  # seconds in which a model may compute without an answer
_BUSY = 0.1  # the share of one core that counts as computing
_FULL = ("maximum queue size", "Request timeout expired")  # Triton's words for: too many requests wait
_log = logging.getLogger("maskserve")


@dataclass(slots=True)
class ModelProof:
    """What is known of one model.

    Attributes:
        entry: the model.
        count: how many requests it had answered at the last look.
        proved: when that was seen to grow last, or a test image showed it, on the monotonic clock.
        took: how long it took for the last test image; where it computed and was late, more than that.
        failures: how many test images in a row have failed.
        asked: when the last test image failed; 0 after an answer.
    """

    entry: Entry
    count: int = -1
    proved: float = field(default_factory=time.monotonic)
    took: float = 0.1
    failures: int = 0
    asked: float = 0.0

    @property
    def interval(self) -> float:
        """How old a proof may be, in seconds."""
        return max(_SHORTEST_INTERVAL, _SHARE * self.took)

    @property
    def deadline(self) -> float:
        """How many seconds a test image may take."""
        return max(_SHORTEST_DEADLINE, _MARGIN * self.took)


class Prober:
    """Looks at all models in turn, on a thread of its own.

    Args:
        endpoint: the server's HTTP service.
        entries: gives the entries that are served now.
        computes: how many seconds of processor time the processes of a model have used so far. One that computes is
            busy, and one that neither answers nor computes hangs.
        broken: told the model that does not answer, why, and whether it hangs.
        well: told the model that has answered.
        awaited: whether somebody waits for the proof of a model, so that it is asked for at once.

    Attributes:
        silent: whether the server itself gave no answer when it was asked last.
    """

    def __init__(
        self,
        endpoint: HttpEndpoint,
        *,
        entries: Callable[[], Sequence[Entry]],
        computes: Callable[[Entry], float],
        broken: Callable[[Entry, str, bool], None],
        well: Callable[[Entry], None],
        awaited: Callable[[Entry], bool],
    ) -> None:
        self.silent = False
        self._endpoint = endpoint
        self._entries = entries
        self._computes = computes
        self._broken = broken
        self._well = well
        self._awaited = awaited
        self._models: dict[str, ModelProof] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maskserve-proof", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    def forget(self) -> None:
        """Forget what was found out: the server is another one, or time has passed unseen."""
        self._models, self.silent = {}, False

    def look(self) -> None:
        """Look at each model once."""
        entries = [entry for entry in self._entries() if entry.takes_images]
        before = self._models
        self._models = {e.name: before.get(e.name) or ModelProof(e) for e in entries}
        for model in list(self._models.values()):
            if self._stopping.is_set() or not self._look_at(model):
                return

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK):
            try:
                self.look()
            except Exception:
                _log.exception("the models of the embedded server could not be asked, and are asked again")

    def _look_at(self, model: ModelProof) -> bool:
        """Return whether the server answered, at least."""
        count = self._answered(model.entry.name)
        self.silent = count is None
        if count is None:
            return False
        now = time.monotonic()
        if count != model.count:
            grew = count > model.count >= 0
            model.count = count
            if grew:
                self._proved(model)
        elif self._awaited(model.entry) or now - max(model.proved, model.asked) >= (
            _LOOK if model.failures else model.interval
        ):
            self._ask(model)
        return True

    def _ask(self, model: ModelProof) -> None:
        used, began = self._computes(model.entry), time.monotonic()
        try:
            send_test_image(self._endpoint, model.entry, timeout=model.deadline)
        except (OSError, ToolError) as error:
            model.asked = time.monotonic()
            late = model.asked - began >= model.deadline
            busy = late and self._computes(model.entry) - used > _BUSY * (model.asked - began)
            full = any(words in str(error) for words in _FULL)
            if busy:  # it is slow: the next one gets twice the time, and comes later
                model.took = max(model.took, 2 * model.deadline / _MARGIN)
            if self._moved(model) or ((busy or full) and model.asked - model.proved < _LONGEST_WORK):
                return
            model.failures += 1
            if late or model.failures >= _MOST_FAILURES:
                self._broken(model.entry, str(error), late)
        else:
            model.took = time.monotonic() - began
            self._proved(model)

    def _proved(self, model: ModelProof) -> None:
        model.proved, model.failures = time.monotonic(), 0
        self._well(model.entry)

    def _moved(self, model: ModelProof) -> bool:
        """Return whether it has answered somebody else while the test image waited."""
        return self._answered(model.entry.name) not in (None, model.count)

    def _answered(self, name: str) -> int | None:
        """Return how many requests a model has answered; None where the server does not say."""
        with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            status, answer = self._endpoint.request("GET", f"/v2/models/{quote(name)}/stats", timeout=2.0)
            if status == 200:
                return int(json.loads(answer)["model_stats"][0]["inference_stats"]["success"]["count"])
            return -1  # it is not loaded; whoever watches over the processes knows why
        return None
