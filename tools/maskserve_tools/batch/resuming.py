"""The output folder: what is in it, what it was made with, and what is still to be done."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError
from maskserve.saving.files import replacing
from maskserve_tools.batch.reading import MANIFEST
from maskserve_tools.batch.shards import Layout
from maskserve_tools.batch.writing import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from maskserve_tools.batch.shards import Shard

_LOCK = ".lock"
_SCRATCH = re.compile(r"\.[0-9a-f]{32}\.\w+")  # as `replacing` names them


@dataclass(slots=True)
class Remainder:
    """What is still to be done, and what earlier runs did.

    Attributes:
        shards: with the images to segment only; none is empty.
        todo: the number of their images.
        done: the number of images that have a row which stays.
        failed: the number of those rows that have an error.
    """

    shards: list[Shard] = field(default_factory=list)
    todo: int = 0
    done: int = 0
    failed: int = 0


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock `folder` for this run, while the body runs; it is made if it is not there.

    Raises:
        InputError: another run does, or the folder cannot be written.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InputError(f"another `maskserve batch` is writing into {folder}") from None
    finally:
        os.close(descriptor)  # which ends the lock


def agreed_layout(folder: Path, made_with: Mapping[str, Any], layout: Layout) -> Layout:
    """Return the layout of the first run into `folder`, which writes down there what its rows are made with.

    Args:
        folder: of the output.
        made_with: what all rows have to have in common.
        layout: taken by the first run.

    Raises:
        InputError: an earlier run was made with something else, or the folder holds what no run has made.
    """
    path = folder / MANIFEST
    if path.exists():
        return _earlier_layout(path, made_with)
    if any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise InputError(f"{folder} has files that `maskserve batch` did not write; name a new folder with --to")
    with replacing(path) as scratch:
        scratch.write_text(
            json.dumps({"made_with": made_with, "layout": asdict(layout)}, indent=2) + "\n", encoding="utf-8"
        )
    return layout


def _earlier_layout(path: Path, made_with: Mapping[str, Any]) -> Layout:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        earlier, layout = dict(manifest["made_with"]), Layout(**manifest["layout"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); name a new folder with --to") from error
    for name, value in made_with.items():
        if earlier.get(name) != value:
            raise InputError(
                f"{path.parent} was begun with {name} {earlier.get(name)!r}, not {value!r}: rows of both kinds must"
                " not be mixed. Name another folder with --to"
            )
    return layout


def remove_scratch(folder: Path) -> None:
    """Remove the half-written files of runs that were killed."""
    for path in folder.glob(".*"):
        if _SCRATCH.fullmatch(path.name):
            path.unlink(missing_ok=True)


def remainder(folder: Path, format_name: str, shards: Iterable[Shard], *, retry_errors: bool) -> Remainder:
    """Return what is left of `shards`, after all earlier runs.

    Args:
        folder: of the output.
        format_name: of `FORMATS`.
        shards: of all images.
        retry_errors: whether images with an error are done again.

    Raises:
        InputError: a file of the output cannot be read.
    """
    left, kind = Remainder(), FORMATS[format_name]
    for shard in shards:
        path = folder / f"{shard.name}{kind.suffix}"
        errors = dict(kind.read_errors(path)) if path.is_file() else {}
        kept = {name: errors[name] for name in shard.ids if name in errors}
        if retry_errors:
            kept = {name: error for name, error in kept.items() if error is None}
        left.done += len(kept)
        left.failed += sum(error is not None for error in kept.values())
        todo = shard.without(kept)
        if len(todo):
            left.shards.append(todo)
            left.todo += len(todo)
    return left
