"""The rows that the comparison with PaddleX names are rows of docs/compatibility.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_listed_row_is_in_the_document():
    code = "import listed, sys; sys.exit('\\n'.join(listed.unknown_rows()) or 0)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_comparison_finds_what_it_imports():
    command = "import agreement, judge, replaying, run_maskserve"
    subprocess.run([sys.executable, "-c", command], cwd=Path(__file__).parent, check=True)
