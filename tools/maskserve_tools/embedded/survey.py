"""Which entries of a repository can be served, and which are broken: those never take the others down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskserve.contract import POSTPROCESS, PREPROCESS, STEPS, step_name
from maskserve.errors import ToolError
from maskserve_server.one_conversion import check_entries
from maskserve_server.spec import FILE_NAME, ModelSpec
from maskserve_tools.embedded.runnable import check_backends
from maskserve_tools.embedded.served_entries import CONFIG, Entry, entry_folders, fingerprint, model_named, read_config

_MOST_INSTANCES = 1024


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """An entry that is not served.

    Attributes:
        name: of its folder.
        reason: what is wrong with it, as a sentence without an end.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} is not served: {self.reason}"


@dataclass(frozen=True, slots=True)
class Survey:
    """A repository.

    Attributes:
        entries: those that can be served, as far as their files tell.
        broken: the others.
    """

    entries: Sequence[Entry]
    broken: Sequence[BrokenEntry] = ()

    def without(self, failures: Mapping[str, str]) -> Survey:
        """Return the survey after some entries turned out to be broken, which breaks what calls them, too.

        Args:
            failures: the reasons by the names of the entries.
        """
        broken = dict(failures)
        for entry in self.entries:
            for step in entry.steps:
                if step in failures and entry.name not in broken:
                    broken[entry.name] = f"its step {step} is broken: {failures[step]}"
        kept = [entry for entry in self.entries if entry.name not in broken]
        called = {step for entry in kept for step in entry.steps}
        parts = {name for name in _parts(self.entries, broken) if name not in called}
        kept = [entry for entry in kept if entry.name not in parts]
        named = [BrokenEntry(name, reason) for name, reason in broken.items()]
        return Survey(kept, [*self.broken, *named])


def survey(repository: Path, models: Sequence[str] | None = None, *, any_backend: bool = False) -> Survey:
    """Look at all entries of a repository, or at `models` and the steps that they call.

    Hidden folders are passed over, as are files.

    Args:
        repository: its folder.
        models: names of models; None for all.
        any_backend: whether the server has all of Triton's backends, and not the embedded one's alone.

    Raises:
        ToolError: no such repository, nothing in it, or a model that is not there.
    """
    present = entry_folders(repository)
    for name in models or ():
        model_named(name, repository, present)
    entries, failures = dict[str, Entry](), dict[str, str]()
    for name in present:
        try:
            entries[name] = _read(repository / name, any_backend=any_backend)
        except ToolError as error:
            failures[name] = error.message
        except OSError as error:  # a file of it that cannot be looked at
            failures[name] = f"{error.filename or repository / name} cannot be read: {error.strerror or error}"
    for entry in entries.values():
        if entry.name in _with_steps(entry.steps, entries):
            failures[entry.name] = "it is a step of itself: convert it again"
        missing = [step for step in entry.steps if step not in entries and step not in failures]
        if missing:
            failures[entry.name] = f"it calls {missing[0]}, which is not in {repository}: convert it again"
        try:
            check_entries(repository, (entry.name, *entry.steps))
        except ToolError as error:
            failures.setdefault(entry.name, error.message)
    if models is not None:
        wanted = _with_steps(models, entries)
        entries = {name: entry for name, entry in entries.items() if name in wanted}
        failures = {name: reason for name, reason in failures.items() if name in wanted}
    return Survey(list(entries.values())).without(failures)


def _read(path: Path, *, any_backend: bool) -> Entry:
    files = fingerprint(path)  # before the configuration, which is to belong to them
    entry = Entry(path.name, path, read_config(path / "config.pbtxt"), files)
    if entry.config.name not in ("", path.name):
        raise ToolError(f"{path}/config.pbtxt is of a model {entry.config.name}: the folder must have that name")
    if not any_backend:
        check_backends([entry])
        _check_instances(entry)
    if not any(folder.name.isdecimal() and folder.is_dir() for folder in path.iterdir()):
        raise ToolError(f"{path} has no folder of a version, such as {path.name}/1: convert the model again")
    holds_core = entry.config.backend == "python" and not path.name.endswith((f".{PREPROCESS}", f".{POSTPROCESS}"))
    for described in sorted(path.glob(f"[0-9]*/{FILE_NAME}")):
        core = described.with_name(ModelSpec.read(described.parent).core.file)
        if holds_core and not (core.is_file() and core.stat().st_size):
            raise ToolError(f"{core} is missing or empty: convert the model again")
    return entry


def _check_instances(entry: Entry) -> None:
    """Refuse numbers of processes that no machine of ours has room for: a slip of the pen must not fill it.

    Raises:
        ToolError: there are too many, or fewer than none.
    """
    for group in entry.config.instance_group:
        if not 0 <= group.count <= _MOST_INSTANCES:
            raise ToolError(
                f"{entry.path / CONFIG} asks for {group.count} instances: give 1 to {_MOST_INSTANCES}, or none for one"
            )


def _with_steps(models: Iterable[str], entries: Mapping[str, Entry]) -> set[str]:
    wanted, waiting = set[str](), list(models)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += entries[name].steps if name in entries else ()
    return wanted


def _parts(entries: Sequence[Entry], broken: Mapping[str, str]) -> set[str]:
    """Return the steps of broken entries; the configuration that names them may be broken."""
    named = {step for entry in entries if entry.name in broken for step in entry.steps}
    return named | {step_name(name, step) for name in broken for step in STEPS}
