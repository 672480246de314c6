"""How many CPUs a process may use: affinity, and the quota of its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskserve_server.cpus import cpu_flags, cpu_quota, usable_cpus, whole_cpus

HERE = len(os.sched_getaffinity(0))


def write(root: Path, **files: str) -> None:
    """Write the files of a machine; two underscores in a name are a slash, and three a dot."""
    for name, text in files.items():
        path = root / name.replace("___", ".").replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_all_cpus_without_a_quota(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == HERE
    write(tmp_path, sys__fs__cgroup__cpu___max="max 100000\n")
    assert (usable_cpus(tmp_path), cpu_quota(tmp_path)) == (HERE, None)


@pytest.mark.parametrize(("text", "count"), [("50000 100000", 1), ("100000 100000", 1), ("110000 100000", 2)])
def test_a_quota_limits_them(text: str, count: int, tmp_path: Path) -> None:
    write(tmp_path, sys__fs__cgroup__cpu___max=text)
    assert usable_cpus(tmp_path) == min(count, HERE)


@pytest.mark.parametrize(
    ("here", "quota", "count"), [(64, None, 64), (64, 2.0, 2), (64, 2.5, 3), (64, 0.1, 1), (2, 8.0, 2)]
)
def test_a_part_of_a_cpu_counts_as_one(here: int, quota: float | None, count: int) -> None:
    assert whole_cpus(here, quota) == count


def test_the_older_control_groups(tmp_path: Path) -> None:
    write(tmp_path, sys__fs__cgroup__cpu__cpu___cfs_period_us="100000\n")
    write(tmp_path, sys__fs__cgroup__cpu__cpu___cfs_quota_us="250000\n")
    assert cpu_quota(tmp_path) == 2.5
    write(tmp_path, sys__fs__cgroup__cpu__cpu___cfs_quota_us="-1\n")
    assert cpu_quota(tmp_path) is None


def test_the_group_of_a_unit_and_those_above_it(tmp_path: Path) -> None:
    write(tmp_path, proc__self__cgroup="0::/system.slice/seg.service\n")
    write(tmp_path, sys__fs__cgroup__system___slice__cpu___max="300000 100000\n")
    assert cpu_quota(tmp_path) == 3
    write(tmp_path, sys__fs__cgroup__system___slice__seg___service__cpu___max="150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5


@pytest.mark.parametrize("text", ["", "many few", "1", "100000 0"])
def test_what_cannot_be_read_is_no_limit(text: str, tmp_path: Path) -> None:
    write(tmp_path, sys__fs__cgroup__cpu___max=text)
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("line", "flags"), [("flags\t\t: fpu avx2", {"fpu", "avx2"}), ("Features\t: asimddp", {"asimddp"})]
)
def test_the_features_of_a_processor(line: str, flags: set[str], tmp_path: Path) -> None:
    """Intel's and AMD's have flags, and those of virtual machines beside them; ARM's have features."""
    assert cpu_flags(tmp_path) == frozenset()
    write(tmp_path, proc__cpuinfo=f"processor\t: 0\n{line}\nvmx flags\t: vnmi\n")
    assert cpu_flags(tmp_path) == flags
