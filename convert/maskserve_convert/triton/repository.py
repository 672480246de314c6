"""Writing the entries of a model into a Triton repository: all of them, or none."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from maskserve.contract import STEPS, step_name
from maskserve.errors import ToolError

PROVENANCE = "provenance.json"
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


def write(repository: Path, name: str, entries: Sequence[Entry]) -> list[Path]:
    """Put a model's entries into a repository, in place of what an earlier conversion of it left.

    Everything is written beside its place first and then moved, so that a reader, or a failure half-way, sees the
    old entries or the new ones.

    Args:
        repository: created when it does not exist.
        name: the model's name; its entries are called `name` or `name.<step>`.
        entries: the entries.

    Returns:
        The directories written.

    Raises:
        ToolError: an entry of that name is there that `convert` did not write.
    """
    repository.mkdir(parents=True, exist_ok=True)
    old = _existing(repository, name)
    staging = Path(mkdtemp(prefix=f".{name}.", dir=_staging_place(repository)))
    try:
        fresh = [_write_entry(staging / "new" / entry.config.name, entry) for entry in entries]
        return _swap(repository, staging, old, fresh)
    finally:
        shutil.rmtree(staging)


def _staging_place(repository: Path) -> Path:
    """Return a place beside the repository, unseen by a starting server; inside it if that is another file system."""
    beside = repository.resolve().parent
    return beside if beside.stat().st_dev == repository.stat().st_dev else repository


def _existing(repository: Path, name: str) -> list[Path]:
    """Return the entries of an earlier conversion."""
    found = [path for path in repository.iterdir() if path.is_dir() and _belongs(path.name, name)]
    foreign = [path for path in found if not (path / PROVENANCE).is_file()]
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
            source.rename(target)
            moved.append((source, target))
    except OSError:
        for source, target in reversed(moved):
            target.rename(source)
        raise
    return [repository / path.name for path in fresh]
