"""Shards: the images of one file of the output. Where an image belongs never changes, so no image is ever in two."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from maskserve.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from maskserve_tools.batch.reading import Listing

_LARGEST, _SMALLEST = 500, 16


@dataclass(frozen=True, slots=True)
class Shard:
    """Images that are segmented together and written as one file: files, or rows of one Parquet file.

    Attributes:
        name: the file's name, without its suffix.
        files: paths and URLs.
        table: the Parquet file; None for files.
        rows: its rows, ascending.
    """

    name: str
    files: Sequence[str] = ()
    table: str | None = None
    rows: Sequence[int] = ()

    @property
    def ids(self) -> list[str]:
        """What the images are called in the output: their path, or the Parquet file's with ``#`` and the row."""
        return (
            list(map(printable, self.files)) if self.table is None else [row_id(self.table, row) for row in self.rows]
        )

    def __len__(self) -> int:
        return len(self.files) + len(self.rows)

    def without(self, ids: Iterable[str]) -> Shard:
        """Return this shard with some of its images left out."""
        left_out = frozenset(ids)
        if self.table is None:
            return replace(self, files=[path for path in self.files if printable(path) not in left_out])
        return replace(self, rows=[row for row in self.rows if row_id(self.table, row) not in left_out])

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps([self.name, list(self.files), self.table, list(self.rows)])

    @classmethod
    def from_json(cls, text: str) -> Shard:
        """Return the shard that `to_json` wrote."""
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Layout:
    """How images are dealt out, which the first run decides for all runs into the same folder.

    Attributes:
        buckets: the number of shards for files; a file's is found by the digest of its path.
        rows: the number of neighbouring rows of a Parquet file in one shard.
    """

    buckets: int
    rows: int

    @classmethod
    def fitting(cls, listing: Listing, workers: int) -> Layout:
        """Return some shards for each worker, that all may be busy to the end, but files of a size worth opening."""
        size = min(_LARGEST, max(_SMALLEST, len(listing) // (8 * workers)))
        return cls(buckets=max(1, -(-len(listing.files) // size)), rows=size)

    def shards(self, listing: Listing) -> Iterator[Shard]:
        """Yield the shards of all images; none is empty."""
        buckets: defaultdict[int, list[str]] = defaultdict(list)
        for path in listing.files:
            buckets[int(_digest(path), 16) % self.buckets].append(path)
        for bucket in sorted(buckets):
            yield Shard(f"files-{bucket:06d}", buckets[bucket])
        for table, count in listing.tables.items():
            for start in range(0, count, self.rows):
                rows = range(start, min(start + self.rows, count))
                yield Shard(f"rows-{_digest(table)}-{start:09d}", table=table, rows=rows)


def row_id(table: str, row: int) -> str:
    """Return what a row of a Parquet file is called."""
    return f"{printable(table)}#{row}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
