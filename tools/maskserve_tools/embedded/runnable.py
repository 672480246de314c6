"""Which entries the embedded server can run: it has the python backend and no other."""

from __future__ import annotations

from collections.abc import Sequence

from maskserve.errors import ToolError
from maskserve_tools.embedded.served_entries import CONFIG, Entry


def check_backends(entries: Sequence[Entry]) -> None:
    """Refuse to start what could not load.

    Raises:
        ToolError: an entry needs a backend that only Triton's containers have.
    """
    for entry in entries:
        if entry.config.platform != "ensemble" and entry.config.backend != "python":
            needed = entry.config.backend or entry.config.platform
            if not needed:
                raise ToolError(f"{entry.path / CONFIG} names no backend, or is empty: convert the model again")
            raise ToolError(
                f"{entry.name} needs Triton's {needed} backend, which Triton's containers have; the embedded server "
                "has only the python backend. Convert the model again with --target embedded, or run this repository "
                "in a container"
            )
