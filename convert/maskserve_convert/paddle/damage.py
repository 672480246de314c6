"""What a damaged file is reported as."""

from __future__ import annotations

from maskserve.errors import ToolError

NOT_A_PROGRAM = 3  # the exit status of the child that reads a .pdmodel


class DamagedFile(ToolError):
    """A file of the model is not what it should be: no engine can help, and none is tried."""
