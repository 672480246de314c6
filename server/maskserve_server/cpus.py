"""How many CPUs this process may use: the one place that counts them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_V2, _V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu"

# Instructions that sum products of 8-bit integers in 32 bits: of Intel and AMD, and of ARM. Without them two products
# are summed in 16 bits first, which overflows where both factors have all 8 bits.
DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})


def cpu_flags(root: Path = _ROOT) -> frozenset[str]:
    """Return the processor's features, as Linux names them; none on other systems.

    Args:
        root: where /proc is.
    """
    file = root / "proc" / "cpuinfo"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    named = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(named, ()))


def usable_cpus(root: Path = _ROOT) -> int:
    """Return how many threads can compute at the same time: the CPUs that the process may run on, or fewer by a quota.

    A part of a CPU counts as a whole one: one thread fewer would leave it unused.

    Args:
        root: where /proc and /sys are.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return whole_cpus(here, cpu_quota(root))


def whole_cpus(here: int, quota: float | None) -> int:
    """Return how many threads can compute at the same time.

    Args:
        here: the CPUs that the process may run on.
        quota: what `cpu_quota` returns.
    """
    return here if quota is None else max(1, math.ceil(min(here, quota)))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return the CPUs that the control group (version 2 or 1) grants; None where it does not limit them.

    A container sees its own group at the top. Elsewhere, as in a unit of systemd, it is the smallest limit of the
    process's group and those above it.
    """
    found = [quota for folder in _groups(root) if (quota := _quota(folder)) is not None]
    return min(found, default=None)


def _groups(root: Path) -> Iterator[Path]:
    yield root / _V2
    yield root / _V1
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        top = root / (_V2 if number == "0" else _V1)
        if number == "0" or "cpu" in controllers.split(","):
            parts = PurePosixPath(path).parts[1:]
            yield from (top.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1))


def _quota(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split() or [
        _text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    try:
        allowed, period = map(int, words)
        return allowed / period if allowed > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
