"""Whether files that are read one after another are of one conversion: another one may replace them in between."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_server.engine_table import engine_called
from maskserve_server.spec import FILE_NAME, ModelSpec

PROVENANCE = "provenance.json"  # the record of a conversion: the same bytes in each of its entries

Stamp = tuple[int, int, int, int]


class NotOfOneConversion(ToolError):
    """Report files of two conversions. Where one was just under way, a reader that begins again meets those of it."""


def stamp(path: Path) -> Stamp | None:
    """Return what tells a file from another one that takes its place; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class OpenedVersion:
    """A version directory whose description was read.

    Attributes:
        directory: where the core's files are, beside the description.
        spec: the model.
        stamps: of these files, as they were then.
    """

    directory: Path
    spec: ModelSpec
    stamps: Mapping[Path, Stamp | None]

    @classmethod
    def read(cls, directory: Path) -> OpenedVersion:
        """Read the description of a version directory.

        Raises:
            NotOfOneConversion: it was replaced while it was read, or is gone.
            ToolError: it cannot be read, was written for another version of the contract, or is damaged.
        """
        described = directory / FILE_NAME
        stamps = {described: stamp(described)}  # before it is read: a later one may be of another file
        with _unchanged(directory, stamps):
            spec = ModelSpec.read(directory)
        names = (spec.core.file, *engine_called(spec.core.engine).files[1:])
        return cls(directory, spec, {**stamps, **{directory / name: stamp(directory / name) for name in names}})

    def unchanged(self) -> AbstractContextManager[None]:
        """Make sure that what is read in this context belongs to the description.

        The directory itself may change: a server leaves bytecode there.

        Raises:
            NotOfOneConversion: the files were replaced, or are gone.
        """
        return _unchanged(self.directory, self.stamps)


@contextmanager
def _unchanged(directory: Path, stamps: Mapping[Path, Stamp | None]) -> Iterator[None]:
    cause: Exception | None = None
    try:
        yield
    except Exception as error:  # may be for want of a file that was moved away
        cause = error
    if any(stamp(path) != then for path, then in stamps.items()):
        raise written_anew(directory) from cause
    if cause is not None:
        raise cause


def written_anew(path: Path) -> NotOfOneConversion:
    """Return the error for what was replaced."""
    return NotOfOneConversion(f"{path} was written anew or removed since it was opened: open it again")


def check_entries(repository: Path, names: Sequence[str]) -> None:
    """Make sure that the entries of a model are of one conversion, those that are there.

    Args:
        repository: where they are.
        names: their names; that of the model is the first one.

    Raises:
        NotOfOneConversion: a conversion was ended half-way, or the entries were copied while one was under way.
    """
    records = dict[str, bytes]()
    for name in names:
        with suppress(OSError):  # a server that fetches its entries has each in a place of its own
            records[name] = (repository / name / PROVENANCE).read_bytes()
    first = next(iter(records), "")
    for name, record in records.items():
        if record != records[first]:
            raise NotOfOneConversion(f"{first} and {name} are not of one conversion: convert {names[0]} again")
