"""What a user names as a model, whatever text it is."""

from __future__ import annotations

import os
import sys
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


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["people.maskserve", "people", "people.tar"])
def test_a_link_that_leads_nowhere_says_where_it_leads(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(ToolError, match=rf"{name} is a link to \S+gone, which is not there"):
        find_source(str(tmp_path / name))


def test_a_device_is_no_model() -> None:
    with pytest.raises(ToolError, match="is a pipe, a socket or a device, and no model"):
        find_source(os.devnull)


@pytest.mark.parametrize("text", ["https://host/people.maskserve", "s3://bucket/people"])
def test_an_address_is_to_be_downloaded_first(text: str) -> None:
    with pytest.raises(ToolError, match=rf"{text} is an address: download the model"):
        find_source(text)


def test_the_network_for_other_programs_is_told_apart(tmp_path: Path) -> None:
    for name in ("model.onnx", "segment.py"):
        (tmp_path / name).write_bytes(b"")
    for path in (tmp_path, tmp_path / "model.onnx"):
        with pytest.raises(ToolError, match=rf"{path} is a network for other programs: name the Paddle folder"):
            find_source(str(path))
