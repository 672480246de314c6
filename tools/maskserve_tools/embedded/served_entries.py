"""The entries of a model repository, as far as serving needs to know them."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve import contract
from maskserve.errors import ToolError
from maskserve.paddlex.model_files import ModelFiles

CONFIG = "config.pbtxt"

Fingerprint = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the repository.

    Attributes:
        name: the name of its folder, which is the name that clients use.
        path: the folder.
        config: its `config.pbtxt`, an `inference.ModelConfig` message.
        files: the fingerprint of its folder before that was read; None where nobody looked.
    """

    name: str
    path: Path
    config: Any
    files: Fingerprint | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The entries that an ensemble calls."""
        return tuple(step.model_name for step in self.config.ensemble_scheduling.step)

    @property
    def takes_images(self) -> bool:
        """Whether it answers by maskserve's contract, so that an image can be sent to it as a test."""
        has_image = any(tensor.name == contract.IMAGE for tensor in self.config.input)
        return has_image and contract.PARAMETER_CONTRACT in self.config.parameters


def fingerprint(folder: Path) -> Fingerprint:
    """Return place, inode, size and time of each file in a folder: they tell whether one was replaced."""
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(place, name) for name in files):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((str(path.relative_to(folder)), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return frozenset(found)


def read_repository(repository: Path, models: str | Sequence[str] | None = None) -> list[Entry]:
    """Read the entries to serve: all, or `models` and the steps they call.

    Hidden folders are passed over, as are files.

    Raises:
        ToolError: no such repository, nothing in it, a name that is not there, or a broken entry.
    """
    present = entry_folders(repository)
    entries: dict[str, Entry] = {}
    wanted = [models] if isinstance(models, str) else models
    for name in present if wanted is None else wanted:
        _add(entries, repository, name, present, wanted_by=None)
    return list(entries.values())


def refuse_model(repository: Path) -> None:
    """Make sure that a folder is not a Paddle model, which has to be converted first.

    Raises:
        ToolError: it is one.
    """
    if ModelFiles.of(repository).settings is not None:
        command = f"maskserve convert {shlex.quote(str(repository))}"
        raise ToolError(f"{repository} is a Paddle model, not a model repository: convert it with `{command}`")


def entry_folders(repository: Path) -> list[str]:
    """Return the names of the folders in a repository, but for hidden ones.

    Raises:
        ToolError: no such repository, or nothing in it.
    """
    hint = f"`maskserve convert PADDLE_DIR --repository {shlex.quote(str(repository))}` makes one"
    if not os.path.isdir(repository):  # which has False, and no error, for what cannot be a path
        raise ToolError(f"there is no model repository at {repository}: {hint}")
    refuse_model(repository)
    try:
        present = sorted(path.name for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise ToolError(f"the model repository {repository} cannot be read: {error.strerror or error}") from error
    if not present:
        raise ToolError(f"the model repository {repository} holds no model: {hint.replace('makes one', 'adds one')}")
    return present


def model_named(name: str, repository: Path, present: Sequence[str]) -> None:
    """Make sure that a model is there.

    Raises:
        ToolError: it is not.
    """
    if name not in present:
        raise ToolError(f"there is no model {name} in {repository}; it holds {', '.join(present)}")


def client_facing(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the names that clients call: every entry that is not a step of another one."""
    steps = {step for entry in entries for step in entry.steps}
    return tuple(entry.name for entry in entries if entry.name not in steps)


def _add(entries: dict[str, Entry], repository: Path, name: str, present: list[str], wanted_by: str | None) -> None:
    if name in entries:
        return
    if wanted_by is None:
        model_named(name, repository, present)
    elif name not in present:
        raise ToolError(f"{wanted_by} calls {name}, which is not in {repository}: convert {wanted_by} again")
    entries[name] = Entry(name, repository / name, read_config(repository / name / "config.pbtxt"))
    for step in entries[name].steps:
        _add(entries, repository, step, present, wanted_by=name)


def read_config(path: Path) -> Any:
    """Read a `config.pbtxt` by Triton's schema.

    Raises:
        ToolError: it is not there, or broken.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    if not os.path.isfile(path):
        raise ToolError(f"{path.parent} is not a model: it has no config.pbtxt (convert it again, or move it away)")
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except OSError as error:
        raise ToolError(f"{path} cannot be read, so its model cannot be served: {error.strerror or error}") from error
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise ToolError(f"{path} is broken, so its model cannot be served: {error}") from error


def python_instances(entries: Sequence[Entry]) -> Iterator[tuple[Entry, int]]:
    """Yield the entries that run in the python backend, each with its number of instances (stub processes)."""
    for entry in entries:
        if entry.config.backend == "python":
            groups = [group.count or 1 for group in entry.config.instance_group]
            yield entry, sum(groups) or 1
