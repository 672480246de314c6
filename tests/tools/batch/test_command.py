"""The command line, as far as it goes without Ray."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maskserve_tools.cli import main


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKSERVE_URL", raising=False)


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for module in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["batch", str(tmp_path), "--to", str(tmp_path / "out"), "--url", "grpc://localhost:1"]) == 1
    assert 'pip install "maskserve[batch]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_server_has_to_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["batch", str(tmp_path), "--to", str(tmp_path / "out")]) == 1
    assert "--url" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--workers", "0"], ["--format", "csv"], ["--url", "a", "--model", "b"]])
def test_a_senseless_command_line_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["batch", "photos", "--to", "out", *wrong])
    assert refused.value.code == 2
