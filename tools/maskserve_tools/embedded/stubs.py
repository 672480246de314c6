"""The python backend's processes, one for each instance of a python model, as /proc shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskserve_tools.embedded import session
from maskserve_tools.embedded.served_entries import Entry, python_instances

_PROGRAM = "triton_python_backend_stub"
_MODEL, _REGION = 1, 2  # positions in the command line that tritonserver 2.51 starts a stub with


@dataclass(frozen=True, slots=True)
class Stub:
    """The process of one instance.

    Attributes:
        pid: its id.
        entry: the entry that it runs.
        region: the name of the region in /dev/shm that it shares with tritonserver.
    """

    pid: int
    entry: str
    region: str


def find_stubs(server: int) -> list[Stub]:
    """Return the living stubs of the tritonserver whose process, and so whose session, has the id `server`."""
    return [
        stub
        for process in session.members(server)
        if (stub := _read(process.pid)) is not None and process.pid != server
    ]


def missing_instances(entries: Sequence[Entry], stubs: Iterable[Stub]) -> set[str]:
    """Return the names of the entries that have fewer stubs than instances."""
    found = Counter(stub.entry for stub in stubs)
    return {entry.name for entry, instances in python_instances(entries) if found[entry.name] < instances}


def by_entry(stubs: Iterable[Stub]) -> Mapping[str, list[Stub]]:
    """Return the stubs of each entry."""
    found: dict[str, list[Stub]] = {}
    for stub in stubs:
        found.setdefault(stub.entry, []).append(stub)
    return found


def _read(pid: int) -> Stub | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace", encoding="utf-8").split("\0")
    except OSError:
        return None
    if not words[0].endswith(_PROGRAM) or len(words) <= _REGION:
        return None
    return Stub(pid, Path(words[_MODEL]).parents[1].name, words[_REGION])
