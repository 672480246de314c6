"""The images that commands are given, and places that cannot be used: the place is named, and no traceback shown."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_tools.cli import main
from maskserve_tools.given_images import given_images


def test_a_file_and_a_directory(tmp_path: Path) -> None:
    for name in ("b.JPG", "sub/a.png", "notes.txt", "._b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert given_images(tmp_path) == [tmp_path / "b.JPG", tmp_path / "sub" / "a.png"]
    assert given_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "no"):
        with pytest.raises(ToolError, match="there are no images at"):
            given_images(path)


def test_a_directory_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("os.stat", refuse)
    with pytest.raises(ToolError, match="private cannot be read: Permission denied"):
        given_images(tmp_path / "private")
    monkeypatch.undo()
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(ToolError, match="cannot be read: Permission denied"):
        given_images(tmp_path)


@pytest.mark.parametrize("command", [["doctor"], ["tune", "people", "--photos", ".", "--repository"]])
def test_a_place_that_cannot_be_used_is_named(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").touch()
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    assert main([*command, long := "x" * 300]) == 1
    assert capsys.readouterr().err.endswith(f"maskserve: '{long}' cannot be used: File name too long\n")


def test_an_error_of_the_system_that_is_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "forgotten")

    monkeypatch.setattr("maskserve_tools.commands.models.run", mistaken)
    with pytest.raises(FileNotFoundError):
        main(["models"])
