"""What a user names as a model, whatever text it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_tools.model_source import Kind, find_source


@pytest.mark.parametrize("text", ["x" * 300, "x/" * 3000, "x" * 300 + ".maskserve", "x" * 300 + ".zip", "a\0b"])
def test_a_text_that_cannot_be_a_path_is_a_sentence(text: str) -> None:
    with pytest.raises(ToolError):
        find_source(text)
    with pytest.raises(ToolError):
        PaddleFolder.open(Path(text))


def test_an_empty_text_is_not_the_current_folder(demo_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo_model)
    assert find_source(".").kind is Kind.PADDLE
    with pytest.raises(ToolError, match="the model is an empty text"):
        find_source("")
