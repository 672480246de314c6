"""Unpacking archives of models without trusting them: PaddleX's own `NAME_infer.tar`, and those that users bring."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from maskserve.errors import ToolError
from maskserve_convert.paddle.folder import missing_files

_MAX_MEMBERS = 1000
_MAX_BYTES = 4 << 30
_MAX_READ = 8 << 20
_MAX_HEADER = 64 << 10  # a PAX or GNU header, for a longer name or whatever else
_MAX_HEADERS = 8 << 20  # all of them
_MAX_RATIO = 50
_MAX_SMALL = 256 << 20  # bytes that any archive may unpack to, however small it is
_SWELLS = "it unpacks to many times its size, which weights do not: it looks like a decompression bomb"
# What two members at one path, a file in the way of a directory, and an overlong name end in.
_BAD_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class BadArchive(ToolError):
    """Not an archive, a damaged or hostile one, or one without a model."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a directory in an archive.

    Attributes:
        parts: its path.
        size: how many bytes the archive says it has.
        reader: opens it for reading; None for a directory.
    """

    parts: tuple[str, ...]
    size: int
    reader: Callable[[], IO[bytes]] | None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the model in `archive` as `folder`; a single directory around it is left out.

    Only files and directories are made, only inside `folder`, and with the user's own permissions: links, devices,
    absolute paths and `..` are errors, as are more than 1000 members or 4 GiB.

    Args:
        archive: an uncompressed tar.
        folder: made by this function; its parent must exist.

    Raises:
        BadArchive: with the reason; `folder` may then exist in part.
        ToolError: `folder` cannot be written.
    """
    folder.mkdir()
    with _explained(archive, "tar"):
        _write_tar(archive, folder, without_top=True)
    if missing := missing_files(folder):
        raise BadArchive(f"it does not hold a Paddle model: it has no {', no '.join(missing)}")


def extract(archive: Path, folder: Path) -> None:
    """Unpack a `.tar`, `.tar.gz` or `.zip`, whatever its name, with everything in it; trusted as little as by `unpack`.

    Args:
        archive: the file.
        folder: made by this function; its parent must exist.

    Raises:
        BadArchive: with the reason; `folder` may then exist in part.
        ToolError: `archive` cannot be read, or `folder` not be written.
    """
    folder.mkdir()
    with _explained(archive, "tar or zip"):
        with archive.open("rb") as file:
            start = file.read(4)
        if start[:2] == b"\x1f\x8b":
            with NamedTemporaryFile(dir=folder.parent, suffix=".tar") as plain:
                _inflate(archive, plain)
                _write_tar(Path(plain.name), folder, without_top=False)
        elif start == b"PK\x03\x04":
            _write_zip(archive, folder)
        else:
            _write_tar(archive, folder, without_top=False)


@contextmanager
def _explained(archive: Path, kind: str) -> Iterator[None]:
    try:
        yield
    # tarfile and zipfile raise all of these on damaged headers; RuntimeError is an encrypted member.
    except (tarfile.TarError, BadZipFile, ValueError, ArithmeticError, LookupError, MemoryError, RuntimeError,
            EOFError, zlib.error, struct.error) as error:  # fmt: skip
        raise BadArchive(f"it is not a {kind} archive, or a damaged one ({error})") from error
    except OSError as error:
        if error.errno in _BAD_PATH:
            raise BadArchive(f"the paths in it cannot all be made ({error.strerror})") from error
        if error.errno in (None, errno.EINVAL):  # a stream that is none, and a place before the file's beginning
            raise BadArchive(f"it is not a {kind} archive, or a damaged one ({error})") from error
        raise ToolError(f"{archive} cannot be unpacked: {error}") from error


class _Careful(io.FileIO):
    """A file that is read in small pieces: tarfile and zipfile read headers whole, whatever size they announce.

    Attributes:
        in_headers: whether headers are being read now, and not the contents of members.
    """

    in_headers = True
    _header_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        if self.in_headers:
            self._header_bytes += size
            if size > _MAX_HEADER or self._header_bytes > _MAX_HEADERS:
                raise BadArchive(f"it has a header of more than {_MAX_HEADER >> 10} KiB, or very many headers")
        elif size > _MAX_READ:
            raise BadArchive(f"more than {_MAX_READ >> 20} MiB of it would have to be read at once")
        return super().read(size) or b""


def _write_tar(archive: Path, folder: Path, *, without_top: bool) -> None:
    # "r:", not "r": the official ones are plain, and plain has no bombs
    with _Careful(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        members = _checked(_tar_members(tar))
        file.in_headers = False
        _write(_without_top(members) if without_top else members, folder)


def _write_zip(archive: Path, folder: Path) -> None:
    with _Careful(archive) as file:
        file.in_headers = False  # the directory of 1000 members is longer than a header, and is read at once
        with ZipFile(file) as container:
            _write(_checked(_zip_members(container)), folder)


def _inflate(archive: Path, plain: IO[bytes]) -> None:
    """Write what a gzip file holds, if that is not out of proportion."""
    most = _most(archive.stat().st_size)
    with gzip.open(archive) as file:
        while chunk := file.read(1 << 20):
            plain.write(chunk)
            if plain.tell() > most:
                raise BadArchive(_SWELLS)
    plain.flush()


def _most(compressed: int) -> int:
    """Return how many bytes may come out of so many; the weights of a model are not compressible."""
    return min(_MAX_BYTES, max(_MAX_SMALL, _MAX_RATIO * compressed))


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        parts = _parts(info.name)
        if info.size < 0 or info.issparse() or not (info.isfile() or info.isdir()):
            raise BadArchive(f"its member {info.name!r} is neither a plain file nor a directory")
        yield Member(parts, info.size, None if info.isdir() else partial(_opened, tar, info))


def _opened(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    source = tar.extractfile(info)
    assert source is not None  # it is None only for what is no file
    return source


def _zip_members(container: ZipFile) -> Iterator[Member]:
    total = 0
    for info in container.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if "\\" in info.orig_filename or info.flag_bits & 1 or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BadArchive(f"its member {info.filename!r} is neither a plain file nor a directory")
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise BadArchive(f"its member {info.filename!r} is compressed in an unusual way; use deflate")
        total += info.file_size
        if total > _most(sum(other.compress_size for other in container.infolist())):
            raise BadArchive(_SWELLS)
        yield Member(_parts(info.filename), info.file_size, None if info.is_dir() else partial(container.open, info))


def _checked(members: Iterable[Member]) -> list[Member]:
    """Return all members, each checked before the first is written."""
    found: list[Member] = []
    total = 0
    for member in members:
        found.append(member)
        total += member.size
        if len(found) > _MAX_MEMBERS:
            raise BadArchive(f"it has more than {_MAX_MEMBERS} members")
        if total > _MAX_BYTES:
            raise BadArchive(f"its files have more than {_MAX_BYTES >> 30} GiB")
    return found


def _parts(name: str) -> tuple[str, ...]:
    """Return a member's path inside the archive."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BadArchive(f"its member {name!r} leads out of the folder")
    return path.parts


def _without_top(members: Sequence[Member]) -> list[Member]:
    tops = {member.parts[:1] for member in members if member.parts}
    if len(tops) != 1 or any(len(member.parts) == 1 and member.reader for member in members):
        return list(members)
    return [replace(member, parts=member.parts[1:]) for member in members]


def _write(members: Sequence[Member], folder: Path) -> None:
    for member in members:
        target = folder.joinpath(*member.parts)
        if member.reader is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.reader() as source, target.open("xb") as file:
            _copy(source, file, member.size)


def _copy(source: IO[bytes], file: IO[bytes], size: int) -> None:
    """Copy no more than was announced, so that what was checked holds."""
    while chunk := source.read(1 << 20):
        size -= len(chunk)
        if size < 0:
            raise BadArchive("one of its members is larger than it says")
        file.write(chunk)
