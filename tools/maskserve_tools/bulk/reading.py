"""What there is to segment: directories, patterns, files and Parquet files become a listing."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve._inputs import IMAGE_SUFFIXES
from maskserve.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of Parquet files that hold photos; a file needs one of them.

    Attributes:
        image: of encoded bytes, or of structs with them in a field ``bytes``, as Hugging Face's datasets have.
        path: of paths or URLs. A relative path starts at the Parquet file's folder.
    """

    image: str = "image"
    path: str = "path"

    def present(self, names: Sequence[str], table: str) -> list[str]:
        """Those of the two that are among the columns of a Parquet file.

        Raises:
            InputError: neither is.
        """
        found = [name for name in (self.image, self.path) if name in names]
        if not found:
            raise InputError(
                f"{table} has neither a column {self.image!r} of encoded images nor a column {self.path!r} of paths;"
                f" --image-column and --path-column name one of its own: {', '.join(names)}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Listing:
    """All photos of a run, each once.

    Attributes:
        files: absolute paths, and URLs.
        tables: Parquet files, and the number of rows of each.
    """

    files: Sequence[str] = ()
    tables: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files) + sum(self.tables.values())


def find_photos(sources: Sequence[str], columns: Columns, leave_out: Path) -> Listing:
    """List the photos of `sources`, in the same order every time. No photo is read.

    Args:
        sources: directories (searched recursively), patterns, image files, Parquet files, http(s) addresses.
        columns: of the Parquet files.
        leave_out: a directory that is not searched: the output of an earlier run is no input.

    Raises:
        InputError: a source is not there or matches nothing, a Parquet file cannot be read, or there is no photo.
    """
    found = dict.fromkeys(path for source in sources for path in _expanded(source, leave_out.resolve()))
    files = [path for path in found if not _is_parquet(path)]
    listing = Listing(files, {path: count_rows(path, columns) for path in found if _is_parquet(path)})
    if not len(listing):
        raise InputError(f"there is no photo in {', '.join(sources)}")
    return listing


def count_rows(table: str, columns: Columns) -> int:
    """The number of rows of a Parquet file that has photos.

    Raises:
        InputError: it cannot be read, or has no column of photos.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            columns.present(file.schema_arrow.names, table)
            return int(file.metadata.num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{table} cannot be read as Parquet: {error}") from error


def _expanded(source: str, leave_out: Path) -> Iterator[str]:
    if source.lower().startswith(("http://", "https://")):
        yield source
    elif os.path.isdir(source):
        yield from _from_directory(os.path.abspath(source), leave_out)
    elif os.path.exists(source):
        yield os.path.abspath(source)
    elif glob.has_magic(source):
        yield from _matching(source, leave_out)
    else:
        raise InputError(f"no such file or directory: {source!r}")


def _matching(pattern: str, leave_out: Path) -> Iterator[str]:
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise InputError(f"no file matches {pattern!r}")
    for match in matches:
        if leave_out not in (resolved := Path(match).resolve(), *resolved.parents):
            yield from _expanded(match, leave_out)


def _from_directory(directory: str, leave_out: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if Path(folder, name).resolve() != leave_out)
        for name in sorted(names):
            is_photo = Path(name).suffix.lower() in IMAGE_SUFFIXES or _is_parquet(name)
            if is_photo and not name.startswith("."):  # such as macOS's ._photo.jpg
                yield os.path.join(folder, name)


def _is_parquet(path: str) -> bool:
    return "://" not in path and Path(path).suffix.lower() in PARQUET_SUFFIXES
