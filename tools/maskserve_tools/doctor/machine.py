"""What the kernel says of this machine, and of the container that we may be in."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from dataclasses import dataclass
from pathlib import Path

from maskserve_server.cpus import cpu_flags, cpu_quota, whole_cpus
from maskserve_tools.embedded.shared_memory_need import free_bytes

_V2, _V1_MEMORY = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to share out.

    Attributes:
        cores: the processors that we may run on.
        quota: the processors' time that the container may use, in cores; None where it is not limited.
        memory: the bytes that programs can still have; None where the kernel does not say.
        shared_memory: the bytes that are free in /dev/shm.
        open_files: how many files, connections included, a process may have open; None for any number.
        cpu_flags: the processors' features, as Linux names them.
        gpus: how many NVIDIA GPUs can be seen.
    """

    cores: int
    quota: float | None
    memory: int | None
    shared_memory: int
    open_files: int | None
    cpu_flags: frozenset[str]
    gpus: int

    @property
    def usable_cores(self) -> int:
        """How many threads can really compute at the same time."""
        return whole_cpus(self.cores, self.quota)

    @classmethod
    def look(cls, root: Path = Path("/")) -> Machine:
        """Ask the kernel.

        Args:
            root: where /proc, /sys and /dev are.
        """
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(
            cores=len(os.sched_getaffinity(0)),
            quota=cpu_quota(root),
            memory=_memory(root),
            shared_memory=free_bytes(root / "dev" / "shm"),
            open_files=None if soft == resource.RLIM_INFINITY else soft,
            cpu_flags=cpu_flags(root),
            gpus=len([path for path in (root / "dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]),
        )


def _memory(root: Path) -> int | None:
    """Return what is available on the machine, or what the container has left where that is less."""
    kilobytes = _number(_field(root / "proc/meminfo", r"MemAvailable:\s*(\d+)"))
    groups = (
        (_V2, "memory.max", "memory.current"),
        (_V1_MEMORY, "memory.limit_in_bytes", "memory.usage_in_bytes"),
    )
    left = [None if kilobytes is None else kilobytes * 1024]
    for folder, limit, usage in groups:
        most, used = _number(_text(root / folder / limit)), _number(_text(root / folder / usage))
        left.append(None if most is None or used is None else max(0, most - used))
    return min((value for value in left if value is not None), default=None)


def _field(path: Path, pattern: str) -> str:
    match = re.search(pattern, _text(path))
    return match[1].strip() if match else ""


def _number(text: str) -> int | None:
    with contextlib.suppress(ValueError):
        return int(text)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
