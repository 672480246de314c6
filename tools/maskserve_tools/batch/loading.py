"""The images of a shard, read when they are wanted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError
from maskserve.inputs.folders import is_regular
from maskserve.inputs.image import InputImage
from maskserve.inputs.sources import images
from maskserve.inputs.urls import shown
from maskserve.saving.drawn import is_drawn
from maskserve.text import printable
from maskserve_tools.batch.shards import row_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from maskserve_tools.batch.reading import Columns
    from maskserve_tools.batch.shards import Shard

_ROWS_AT_ONCE = 16  # whose images are in memory


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image of a shard.

    Attributes:
        id: what it is called in the output.
        path: its path or URL; None for one that a Parquet file holds without saying where it came from.
        image: how it is had.
    """

    id: str
    path: str | None
    image: InputImage


def load(shard: Shard, columns: Columns) -> Iterator[ListedImage]:
    """Yield the images of `shard`, in its order.

    Raises:
        InputError: its Parquet file cannot be read. An image that cannot be had raises when it is loaded.
    """
    if shard.table is None:
        for path in shard.files:
            yield ListedImage(printable(path), printable(path), _from_path(path))
        return
    import pyarrow

    try:
        for row, record in _records(shard.table, frozenset(shard.rows), columns):
            yield _from_record(row_id(shard.table, row), record, columns, os.path.dirname(shard.table))
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{shard.table} cannot be read as Parquet: {error}") from error


def _records(table: str, wanted: frozenset[int], columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the wanted rows of a Parquet file; of the row groups without any, nothing is read."""
    from pyarrow import parquet

    with parquet.ParquetFile(table) as file:
        names = columns.present(file.schema_arrow.names, table)
        first = 0
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(range(first, end)):
                row = first
                for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=names):
                    chosen = [index for index in range(batch.num_rows) if row + index in wanted]
                    yield from zip([row + index for index in chosen], batch.take(chosen).to_pylist(), strict=True)
                    row += batch.num_rows
            first = end


def _from_record(name: str, record: dict[str, Any], columns: Columns, folder: str) -> ListedImage:
    content: Any = record.get(columns.image)
    path = record.get(columns.path)
    if isinstance(content, dict):
        path = path or content.get("path")
        content = content.get("bytes")
    if content:
        return ListedImage(name, path, _single(content, name))
    if not path:
        return ListedImage(name, None, _failing(f"{name}: the row has neither an image nor a path"))
    return ListedImage(name, path, _from_path(path if "://" in path else os.path.join(folder, path)))


def _from_path(path: str) -> InputImage:
    if os.path.isdir(path):
        return _failing(f"{path} is a directory, not an image")
    if not is_regular(path):
        return _failing(f"{path!r} is not a file with an image, but a pipe, a socket or a device")
    if is_drawn(path):
        return _failing(f"{path} was drawn by maskserve, and is no image; `maskserve predict` segments it all the same")
    return _single(path, shown(path))


def _single(source: str | bytes, name: str) -> InputImage:
    """Return the only image in `source`. A document of several pages has no row, so it is an error of its row."""
    found = list(islice(images(source), 2))
    if len(found) != 1:
        return _failing(f"{name} has several pages, or none; `maskserve predict` segments pages")
    return found[0]


def _failing(message: str) -> InputImage:
    def fail(message: str) -> NoReturn:
        raise InputError(message)

    return InputImage(partial(fail, message))
