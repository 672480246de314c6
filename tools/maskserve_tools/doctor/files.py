"""Whether the files that the entries need are there, and are those that were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskserve_convert.paddle.folder import sha256
from maskserve_tools.doctor.finding import Finding, problem
from maskserve_tools.doctor.read_entries import ReadEntry
from maskserve_tools.doctor.workload import core_files

_AGAIN = "convert the model again, or copy the repository again"
_NOT_LOADED = "Triton does not load it"


def check_versions(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether each entry has the folder of a version."""
    return [
        problem(f"{entry.name} has no version folder (1/)", f"{_NOT_LOADED}; copying often loses empty folders", _AGAIN)
        for entry in entries
        if not entry.versions
    ]


def check_files(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether each version has its adapter, and its network where it runs one."""
    return [
        problem(f"{path} is missing or empty", _NOT_LOADED, _AGAIN)
        for entry in entries
        if entry.provenance is not None
        for path in _needed(entry)
        if not path.is_file() or not path.stat().st_size
    ]


def check_digests(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether the networks are those that were converted, where their digests were recorded."""
    why = "it was damaged or exchanged since, and what it answers is not what was checked"
    return [
        problem(f"{path} is not the file that was converted", why, _AGAIN)
        for entry in entries
        if entry.holds_core and isinstance(recorded := entry.recorded("core", "sha256"), Mapping)
        for path in _cores(entry)
        if path.name in recorded and path.is_file() and sha256(path) != recorded[path.name]
    ]


def _needed(entry: ReadEntry) -> list[Path]:
    adapters = [version / "model.py" for version in entry.versions] if entry.backend == "python" else []
    return [*adapters, *(_cores(entry) if entry.holds_core else [])]


def _cores(entry: ReadEntry) -> list[Path]:
    return [version / name for version in entry.versions for name in core_files(entry) if name]
