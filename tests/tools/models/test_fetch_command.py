"""Where the cache is, what counts as a source, and the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_tools import cli, convert
from maskserve_tools.models import cache as cache_module
from maskserve_tools.models.cache import cache_folder
from maskserve_tools.models.fetching import by_tenths, source_folder
from tests.tools.models.conftest import (
    MODEL,
    NAME,
    NOWHERE,
    VERSION,
    Site,
    content_of,
)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("MASKSERVE_CACHE", "here")
    assert cache_folder() == Path("here")
    monkeypatch.setenv("MASKSERVE_CACHE", "~/models")  # as in a Compose file
    assert cache_folder() == Path("/home/someone/models")
    monkeypatch.setenv("MASKSERVE_CACHE", "")
    assert cache_folder() == Path("/xdg/maskserve")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home/someone/.cache/maskserve")


def test_without_a_home_the_cache_has_to_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MASKSERVE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache_module.Path, "home", fail)
    with pytest.raises(ToolError, match="set MASKSERVE_CACHE"):
        cache_folder()


def test_a_source_is_a_folder_first_and_a_name_second(
    site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKSERVE_MODEL_SOURCE", site.url)
    monkeypatch.chdir(tmp_path)
    assert source_folder(NAME) == cache / "models" / VERSION / NAME
    Path(NAME).mkdir()
    assert source_folder(NAME) == Path(NAME)
    assert source_folder("else/where") == Path("else/where")


def test_a_source_that_is_nearly_a_name_is_answered_with_it() -> None:
    with pytest.raises(ToolError, match=r"not a folder, and not one of PaddleX's models either; did you mean .*SOLOv2"):
        source_folder("solov2")


def test_convert_fetches_what_it_is_given_the_name_of(
    site: Site, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only as far as reading the program, which is not one here."""
    monkeypatch.setenv("MASKSERVE_MODEL_SOURCE", site.url)
    lines: list[str] = []
    with pytest.raises(ToolError, match="has no Preprocess"):
        convert(NAME, repository=tmp_path / "models", report=lines.append)
    assert content_of(cache / "models" / VERSION / NAME) == MODEL
    assert lines[0].startswith("downloading http")


def test_progress_in_words_comes_in_tenths() -> None:
    lines: list[str] = []
    progress = by_tenths(lines.append)
    for received in range(0, 2_000_001, 1000):
        progress(received, 2_000_000)
    progress(5, None)
    assert lines == [f"{tenth}0 % of 2.0 MB" for tenth in range(1, 11)]


def test_the_command_prints_folders_and_nothing_else(
    site: Site, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--source", site.url, "--cache", str(tmp_path / "other"), "--version", "paddle3.0rc0"]
    assert cli.main(["fetch", NAME, "SOLOv2", *options]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        str(tmp_path / "other/models/paddle3.0rc0" / name) for name in (NAME, "SOLOv2")
    ]
    assert "downloading http" in captured.err
    assert "100 % of" in captured.err


def test_on_a_terminal_the_command_draws_its_progress(
    site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["fetch", NAME, "--source", site.url]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{cache / 'models' / VERSION / NAME}\n"
    assert "kB" in captured.err


def test_the_command_ends_with_a_sentence_and_1(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fetch", NAME, "--source", NOWHERE]) == 1
    assert "maskserve: http://127.0.0.1:9/" in capsys.readouterr().err
    assert not (cache / "models" / VERSION / NAME).exists()
