"""The rows of the output, and the files that hold them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError
from maskserve.exports import to_coco
from maskserve.results import Failure
from maskserve.saving.files import replacing
from maskserve.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maskserve.results import InstanceSegResult
    from maskserve_tools.batch.loading import ListedImage

Row = dict[str, Any]


def row_for(image: ListedImage, outcome: InstanceSegResult | Failure) -> Row:
    """Return the row of an image.

    Returns:
        `id`, `path`, `width`, `height`, `instances`, `error`. An instance has `category_id` and `category` (the model's
        class), `score`, `bbox` [x, y, width, height] in pixels and `segmentation`, COCO's compressed RLE of the whole
        image. Where there is an `error`, a sentence, there are no size and no instances.
    """
    row: Row = {"id": image.id, "path": image.path, "width": None, "height": None, "instances": None, "error": None}
    if isinstance(outcome, Failure):
        return {**row, "error": printable(outcome.error.message)}
    height, width = outcome.instances.image_size
    entries = to_coco(outcome, image_id=0)
    found = []
    for instance, entry in zip(outcome.instances, entries, strict=True):
        x0, y0, x1, y1 = instance.box
        found.append(
            {
                "category_id": entry["category_id"],
                "category": instance.label,
                "score": entry["score"],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "segmentation": entry["segmentation"],
            }
        )
    return {**row, "width": width, "height": height, "instances": found}


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of files.

    Attributes:
        suffix: of their names.
        write: writes rows to a path.
        read: reads all rows of a file.
        read_errors: reads only `id` and `error`, as pairs.
    """

    suffix: str
    write: Callable[[Path, Sequence[Row]], None]
    read: Callable[[Path], list[Row]]
    read_errors: Callable[[Path], list[tuple[str, str | None]]]

    def save(self, path: Path, rows: Sequence[Row]) -> None:
        """Write a file, and put it in its place when it is whole and on the disk.

        Raises:
            InputError: it cannot be written.
        """
        with replacing(path) as scratch:
            try:
                self.write(scratch, rows)
            except (ValueError, TypeError, OverflowError) as error:  # pyarrow's are among them
                raise InputError(f"{path} cannot be written: {error}") from error
            with scratch.open("rb") as file:
                os.fsync(file.fileno())


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow
    from pyarrow import parquet

    text, whole, real = pyarrow.string(), pyarrow.int32(), pyarrow.float64()
    segmentation = pyarrow.struct([("size", pyarrow.list_(whole)), ("counts", text)])
    instance = [("category_id", whole), ("category", text), ("score", real), ("bbox", pyarrow.list_(real))]
    instances = pyarrow.list_(pyarrow.struct([*instance, ("segmentation", segmentation)]))
    schema = pyarrow.schema(
        [("id", text), ("path", text), ("width", whole), ("height", whole), ("instances", instances), ("error", text)]
    )
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), path, compression="zstd")


def _read_parquet(path: Path, columns: list[str] | None = None) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            rows: list[Row] = file.read(columns).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from error
    return rows


def _write_ndjson(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _read_ndjson(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read ({error}); remove it, and its images are done again")


FORMATS = {
    "parquet": Format(
        ".parquet",
        _write_parquet,
        _read_parquet,
        lambda path: [(row["id"], row["error"]) for row in _read_parquet(path, ["id", "error"])],
    ),
    "ndjson": Format(
        ".ndjson", _write_ndjson, _read_ndjson, lambda path: [(row["id"], row["error"]) for row in _read_ndjson(path)]
    ),
}
"""By the name that ``--format`` has for them."""
