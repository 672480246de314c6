"""The version: of the package, of the command, and of `python -m maskserve`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import maskserve
from maskserve_tools import cli


def test_the_package_knows_its_version() -> None:
    assert maskserve.__version__ == version("maskserve")


def test_the_command_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"maskserve {version('maskserve')}\n"


@pytest.mark.parametrize("arguments", [["--version"], ["predict", "--help"]])
def test_the_package_runs_as_the_command(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "maskserve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.startswith(("maskserve ", "usage: maskserve "))
