"""What there is to segment: directories, patterns, files and Parquet files become a listing."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import InputError
from maskserve.inputs.folders import is_image, unreadable_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MANIFEST = "_maskserve.json"
"""In the output of a run: its images' rows are no images."""
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of Parquet files that hold images; a file needs one of them.

    Attributes:
        image: of encoded bytes, or of structs with them in a field ``bytes``, as Hugging Face's datasets have.
        path: of paths or URLs. A relative path starts at the Parquet file's folder.
    """

    image: str = "image"
    path: str = "path"

    def present(self, names: Sequence[str], table: str) -> list[str]:
        """Return those of the two that are among the columns of a Parquet file.

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
    """All images of a run, each once.

    Attributes:
        files: absolute paths, and URLs.
        tables: Parquet files, and the number of rows of each.
        refused: what was not searched, with the reason: directories that cannot be read.
        left_out: directories with the output of other runs.
    """

    files: Sequence[str] = ()
    tables: dict[str, int] = field(default_factory=dict)
    refused: Sequence[str] = ()
    left_out: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.files) + sum(self.tables.values())


def find_images(sources: Sequence[str], columns: Columns, leave_out: Path) -> Listing:
    """List the images of `sources`, in the same order every time. No image is read.

    Args:
        sources: directories (searched recursively), patterns, image files, Parquet files, http(s) addresses.
        columns: of the Parquet files.
        leave_out: a directory that is not searched: the output of an earlier run is no input.

    Raises:
        InputError: a source is not there or matches nothing, a Parquet file cannot be read, or there is no image.
    """
    search = _Search(leave_out.resolve())
    found = dict.fromkeys(path for source in sources for path in search.expanded(source))
    files = [path for path in found if not _is_parquet(path)]
    tables = {path: count_rows(path, columns) for path in found if _is_parquet(path)}
    listing = Listing(files, tables, tuple(dict.fromkeys(search.refused)), tuple(dict.fromkeys(search.left_out)))
    if not len(listing):
        raise InputError("; ".join([f"there is no image in {', '.join(sources)}", *listing.refused]))
    return listing


def count_rows(table: str, columns: Columns) -> int:
    """Return the number of rows of a Parquet file that has images.

    Raises:
        InputError: it cannot be read, or has no column of images.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(table) as file:
            columns.present(file.schema_arrow.names, table)
            return int(file.metadata.num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{table} cannot be read as Parquet: {error}") from error


class _Search:
    """Looks for images, and remembers where it could not.

    Args:
        leave_out: a directory that is not searched.
    """

    def __init__(self, leave_out: Path) -> None:
        self.refused: list[str] = []
        self.left_out: list[str] = []
        self._leave_out = leave_out

    def expanded(self, source: str) -> Iterator[str]:
        """Yield the images and Parquet files of one argument.

        Raises:
            InputError: it is not there or matches nothing.
        """
        if source.lower().startswith(("http://", "https://")):
            yield source
        elif os.path.isdir(source):
            yield from self._from_directory(os.path.abspath(source))
        elif os.path.lexists(source):
            yield os.path.abspath(source)
        elif glob.has_magic(source):
            yield from self._matching(source)
        else:
            raise InputError(f"no such file or directory: {source!r}")

    def _matching(self, pattern: str) -> Iterator[str]:
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise InputError(f"no file matches {pattern!r}")
        for match in matches:
            if self._leave_out not in (resolved := Path(match).resolve(), *resolved.parents):
                yield from self.expanded(match)

    def _from_directory(self, directory: str) -> Iterator[str]:
        def unreadable(error: OSError) -> None:
            self.refused.append(unreadable_folder(error, directory).message)

        for folder, folders, names in os.walk(directory, onerror=unreadable):
            if MANIFEST in names and folder != directory:
                folders.clear()
                self.left_out.append(folder)
                continue
            folders[:] = sorted(name for name in folders if Path(folder, name).resolve() != self._leave_out)
            for name in sorted(names):
                if is_image(name) or (_is_parquet(name) and not name.startswith(".")):
                    yield os.path.join(folder, name)


def _is_parquet(path: str) -> bool:
    return "://" not in path and Path(path).suffix.lower() in PARQUET_SUFFIXES
