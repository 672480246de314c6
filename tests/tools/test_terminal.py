"""Commands on terminals and pipes that have few letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BARE = {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def run(*words: object, encoding: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **BARE, "PYTHONIOENCODING": encoding}
    line: list[str | bytes] = [sys.executable, "-m", "maskserve_tools.cli", *(os.fsencode(str(word)) for word in words)]
    return subprocess.run(line, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("café", "ascii"), ("café", "latin-1"), ("仓库", "ascii"), ("仓库", "latin-1"), ("😀", "utf-8")],
)
def test_a_name_with_any_letters_can_be_told(tmp_path: Path, name: str, encoding: str) -> None:
    done = run("serve", tmp_path / name, encoding=encoding)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"there is no model repository at" in done.stderr
    assert name.encode() in done.stdout + done.stderr, "a file name is written as it is on the disk"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_stays_json(tmp_path: Path, encoding: str) -> None:
    broken = tmp_path / "models" / "café"
    broken.mkdir(parents=True)
    (broken / "config.pbtxt").write_text('name: "é" parameters {', encoding="utf-8")
    done = run("doctor", tmp_path / "models", "--json", encoding=encoding)
    assert b"Traceback" not in done.stderr
    findings = json.loads(done.stdout)
    assert any("config.pbtxt is broken" in finding["what"] for finding in findings)


def test_the_doctor_speaks(tmp_path: Path) -> None:
    (tmp_path / "models" / "行人").mkdir(parents=True)
    done = run("doctor", tmp_path / "models", encoding="ascii")
    assert b"Traceback" not in done.stderr
    said = b"".join(done.stdout.split())  # a long path may be broken
    assert "行人".encode() in said or repr("行人".encode())[2:-1].encode() in said


def test_a_letter_that_the_stream_lacks_is_escaped() -> None:
    code = "from maskserve_tools.terminal import write_anything; write_anything(); print('caf\\xe9 \\u884c \\udce9')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True
    )
    assert done.stdout == b"caf\\xe9 \\u884c \xe9\n"
