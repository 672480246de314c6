"""What a running server is now: the state that its owner, a reload and the supervisor share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from maskserve_tools.embedded.started import Started
from maskserve_tools.embedded.survey import Survey

Launched_co = TypeVar("Launched_co", bound=Started, covariant=True)


@dataclass(slots=True)
class Serving(Generic[Launched_co]):
    """A running server.

    Attributes:
        launch: its processes and what they need.
        survey: the entries that it serves, and those that are broken.
        ready_timeout: how many seconds the models have to get ready.
        changing: held by whoever loads, exchanges or restarts something.
    """

    launch: Launched_co
    survey: Survey
    ready_timeout: float
    changing: threading.Lock = field(default_factory=threading.Lock)

    def take_out(self, failures: Mapping[str, str]) -> None:
        """Serve these entries no longer, nor what calls them.

        Args:
            failures: the reasons by the names of the entries.
        """
        left = self.survey.without(failures)
        kept = {entry.name for entry in left.entries}
        self.launch.remove(entry.name for entry in self.survey.entries if entry.name not in kept)
        self.survey = left
