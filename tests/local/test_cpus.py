"""How many threads a core takes: what the user says, or what the process may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskserve.errors import InvalidParameter
from maskserve_local.cpus import thread_count
from maskserve_server.cpus import usable_cpus


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKSERVE_THREADS", raising=False)


def test_the_cpus_that_the_process_may_use(tmp_path: Path) -> None:
    assert thread_count() == usable_cpus()
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("100000 100000\n")
    assert thread_count(tmp_path) == 1


def test_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_THREADS", "7")
    assert thread_count(tmp_path) == 7


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", "٣", "99999"])
def test_a_number_that_is_none(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_THREADS", wrong)
    with pytest.raises(InvalidParameter, match="MASKSERVE_THREADS"):
        thread_count(tmp_path)
