"""What a server's processes take, read from Linux's /proc: processor time of all, memory of one model's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_PROC = Path("/proc")


def tree(pid: int, proc: Path = _PROC) -> list[int]:
    """Return a process and all that descend from it."""
    parents = _parents(proc)
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found


def processor_seconds(pids: Iterable[int], proc: Path = _PROC) -> float:
    """Return the processor time that these processes have taken; those that are gone count nothing."""
    ticks = 0
    for pid in pids:
        fields = _stat(proc / str(pid))
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int, models: Iterable[str], proc: Path = _PROC) -> int:
    """Return the bytes of the processes of some entries, proportional where they share memory.

    Args:
        pid: the tritonserver.
        models: the entries' names.
        proc: the file system with the processes.
    """
    parents = _parents(proc)
    wanted = [f"/{name}/" for name in models]
    stubs = [
        process
        for process, parent in parents.items()
        if parent == pid and any(part in _read(proc / str(process) / "cmdline") for part in wanted)
    ]
    return sum(_proportional(proc / str(process)) for stub in stubs for process in tree(stub, proc))


def _parents(proc: Path) -> Mapping[int, int]:
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdecimal() and (fields := _stat(folder)):
            found[int(folder.name)] = int(fields[1])
    return found


def _stat(folder: Path) -> list[str]:
    """Return what follows the process's name, which may hold anything; [] where it is gone."""
    return _read(folder / "stat").rpartition(")")[2].split()


def _proportional(folder: Path) -> int:
    for line in _read(folder / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
