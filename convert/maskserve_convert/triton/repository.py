"""Writing the entries of a model into a Triton repository: all of them, or none."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from maskserve.contract import STEPS, step_name
from maskserve.errors import ToolError
from maskserve.temporary import owned_folder, remove_stale
from maskserve_convert.writable import check_writable, explained

PROVENANCE = "provenance.json"
LABELS_FILE = "labels.txt"  # of what clients call, and not of its steps
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One directory of a repository.

    Attributes:
        config: its `config.pbtxt`; `config.name` is the directory's name.
        texts: small files by their path inside the directory.
        files: files to move in from where they were made, by their path inside the directory.
    """

    config: ModelConfig
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)


def check_place(repository: Path, name: str) -> None:
    """Make sure that a model of this name can be written into a repository. Nothing is changed.

    Raises:
        ToolError: the folder cannot be written, or holds something else of that name.
    """
    check_writable(repository)
    if repository.is_dir():
        with explained(repository), _alone(repository):
            _existing(repository, name)


def write(repository: Path, name: str, entries: Sequence[Entry]) -> list[Path]:
    """Put a model's entries into a repository, in place of what an earlier conversion of it left.

    Everything is written beside its place first and then moved, so that a reader, a failure or a Ctrl-C half-way sees
    the old entries or the new ones. Conversions of several processes move theirs one after another.

    Args:
        repository: created when it does not exist.
        name: the model's name; its entries are called `name` or `name.<step>`.
        entries: the entries.

    Returns:
        The directories written.

    Raises:
        ToolError: an entry of that name is there that `convert` did not write, or the folder cannot be written.
    """
    with explained(repository):
        repository.mkdir(parents=True, exist_ok=True)
        with _alone(repository):  # an entry that another conversion moves just now would look like a foreign one
            _existing(repository, name)
        place = _staging_place(repository)
        remove_stale(place, hidden=True)
        with owned_folder("convert", place, hidden=True) as staging:
            fresh = [_write_entry(staging.path / "new" / entry.config.name, entry) for entry in entries]
            with _alone(repository):
                return _swap(repository, staging.path, _existing(repository, name), fresh)


@contextmanager
def _alone(repository: Path) -> Iterator[None]:
    """Wait until no other process changes the repository, as far as its file system has locks."""
    descriptor = os.open(repository, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _staging_place(repository: Path) -> Path:
    """Return a place beside the repository, unseen by a starting server; inside it where that cannot be moved from."""
    beside = repository.resolve().parent
    usable = os.access(beside, os.W_OK | os.X_OK) and _mount(beside) == _mount(repository)
    return beside if usable else repository


def _mount(folder: Path) -> object:
    """Return what tells mounts apart: a folder of the same file system that is mounted twice cannot be moved into."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
        return next(line for line in lines if line.startswith("mnt_id:"))
    except (OSError, StopIteration):  # a system without
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def _existing(repository: Path, name: str) -> list[Path]:
    """Return the entries of an earlier conversion."""
    found = [path for path in repository.iterdir() if _belongs(path.name, name) and os.path.lexists(path)]
    foreign = [path for path in found if not (path / PROVENANCE).is_file()]
    models = [path for path in found if path.name != name and (path / LABELS_FILE).is_file()]
    if models:
        raise ToolError(
            f"{models[0]} is a model of its own, and would be a step of {name}: choose another --name, or move it away"
        )
    if foreign:
        raise ToolError(
            f"{foreign[0]} was not written by `maskserve convert` (it has no {PROVENANCE}): "
            "choose another --name, or move it away"
        )
    return found


def _belongs(directory: str, name: str) -> bool:
    return directory == name or directory in {step_name(name, step) for step in STEPS}


def _write_entry(directory: Path, entry: Entry) -> Path:
    (directory / VERSION).mkdir(parents=True)
    (directory / "config.pbtxt").write_text(text_format.MessageToString(entry.config, as_utf8=True), encoding="utf-8")
    for relative, text in entry.texts.items():
        (directory / relative).write_text(text, encoding="utf-8")
    for relative, source in entry.files.items():
        (directory / relative).parent.mkdir(exist_ok=True)
        shutil.move(source, directory / relative)
    return directory


def _swap(repository: Path, staging: Path, old: Sequence[Path], fresh: Sequence[Path]) -> list[Path]:
    attic = staging / "old"
    attic.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target in [(p, attic / p.name) for p in old] + [(p, repository / p.name) for p in fresh]:
            moved.append((source, target))
            source.rename(target)
    except BaseException:  # also Ctrl-C, which may come before or after the last one was moved
        for source, target in reversed(moved):
            if not os.path.lexists(source):
                target.rename(source)
        raise
    return [repository / path.name for path in fresh]
