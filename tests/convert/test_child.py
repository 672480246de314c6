"""What is said of a child that ended: the error, without what Paddle prints around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskserve_convert.child import ChildFailed, run_module

CRASH = """[Paddle2ONNX] Start parsing the Paddle model file...
[Paddle2ONNX]
--------------------------------------
C++ Traceback (most recent call last):
--------------------------------------
0   paddle2onnx::Export(char const*, char const*)
----------------------
Error Message Summary:
----------------------
FatalError: `Process abort signal` is detected by the operating system.
  [TimeInfo: *** Aborted at 1795907859 (unix time) try "date -d @1795907859" if you are using GNU date ***]
  [SignalInfo: *** SIGABRT (@0x494f) received by PID 18767 (TID 0x7fa5fec64b80) from PID 18767 ***]
{error}
"""


@pytest.mark.parametrize("error", ["[ERROR][Paddle2ONNX] Due to the unsupported operators", "3 operators are missing"])
def test_a_crash_of_paddle_is_told_by_its_error_alone(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing.py").write_text(
        f"import os, sys\nprint({CRASH.format(error=error)!r}, flush=True)\nos.abort()\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ChildFailed) as caught:
        run_module("crashing", [])
    assert str(caught.value) == f"crashing was ended by SIGABRT: {error}"


def test_what_has_no_error_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing.py").write_text("print('-' * 9, flush=True)\nraise SystemExit(3)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ChildFailed, match=r"^crashing failed \(exit status 3\): -{9}$"):
        run_module("crashing", [])
