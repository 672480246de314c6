"""Temporary folders say whether their owner still lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from maskserve.temporary import owned_folder, remove_stale

LEAVE = """
import os, sys
from maskserve.temporary import owned_folder
with owned_folder("test", sys.argv[1]) as owned:
    (owned.path / "content").mkdir()
    if len(sys.argv) > 2:
        import subprocess
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        print(subprocess.Popen(["sleep", "60"], pass_fds=[owned.descriptor], **quiet).pid, flush=True)
    os._exit(1)
"""


def leave(folder: Path, *arguments: str) -> str:
    line = [sys.executable, "-c", LEAVE, str(folder), *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=60).stdout


def test_a_folder_goes_at_the_end(tmp_path: Path) -> None:
    with owned_folder("test", tmp_path) as owned:
        assert owned.path.name.startswith("maskserve-test-")
        (owned.path / "content").touch()
    assert list(tmp_path.iterdir()) == []


def test_those_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    leave(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "maskserve-of-somebody-else").mkdir()  # without an owner's file
    with owned_folder(where=tmp_path) as living:
        remove_stale(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {living.path.name, "maskserve-of-somebody-else"}


def test_a_child_with_the_lock_is_an_owner_too(tmp_path: Path) -> None:
    child = int(leave(tmp_path, "with a child"))
    remove_stale(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        remove_stale(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_owners_file_removes_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    (tmp_path / "maskserve-trap").mkdir()
    (tmp_path / "maskserve-trap" / ".owner").symlink_to(victim)
    remove_stale(tmp_path)
    assert (tmp_path / "maskserve-trap").exists()
    assert victim.exists()
