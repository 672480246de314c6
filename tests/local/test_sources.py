"""Opening models in the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_local.sources import open_source


def test_an_entry_that_goes_while_it_is_opened_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Path, pattern: str) -> list[Path]:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "glob", gone)
    with pytest.raises(ToolError, match="cannot be read, try again if it is being converted"):
        open_source(tmp_path / "model")
