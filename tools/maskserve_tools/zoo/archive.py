"""Unpacking `NAME_infer.tar` without trusting it."""

from __future__ import annotations

import errno
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maskserve.errors import ToolError
from maskserve_tools.converting.paddle_folder import missing_files

_MAX_MEMBERS = 1000
_MAX_BYTES = 4 << 30
# What two members at one path, a file in the way of a directory, and an overlong name end in.
_BAD_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class BadArchive(ToolError):
    """Not an archive, a damaged or hostile one, or one without a model."""


@dataclass(frozen=True, slots=True)
class _Member:
    info: tarfile.TarInfo
    parts: tuple[str, ...]


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
    try:
        with tarfile.open(archive, "r:") as tar:  # "r:", not "r": the official ones are plain, and plain has no bombs
            for member in _without_top(_members(tar)):
                _write(tar, member, folder)
    # tarfile raises all of these on damaged headers.
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, MemoryError, RecursionError) as error:
        raise BadArchive(f"it is not a tar archive, or a damaged one ({error})") from error
    except OSError as error:
        if error.errno in _BAD_PATH:
            raise BadArchive(f"the paths in it cannot all be made ({error.strerror})") from error
        raise ToolError(f"{archive} cannot be unpacked: {error}") from error
    if missing := missing_files(folder):
        raise BadArchive(f"it does not hold a Paddle model: it has no {', no '.join(missing)}")


def _members(tar: tarfile.TarFile) -> list[_Member]:
    """All members, each checked before the first is written."""
    found: list[_Member] = []
    total = 0
    for info in tar:
        found.append(_Member(info, _parts(info)))
        total += info.size
        if len(found) > _MAX_MEMBERS:
            raise BadArchive(f"it has more than {_MAX_MEMBERS} members")
        if total > _MAX_BYTES:
            raise BadArchive(f"its files have more than {_MAX_BYTES >> 30} GiB")
    return found


def _parts(info: tarfile.TarInfo) -> tuple[str, ...]:
    """The member's path inside the archive."""
    path = PurePosixPath(info.name)
    if path.is_absolute() or ".." in path.parts:
        raise BadArchive(f"its member {info.name!r} leads out of the folder")
    if info.size < 0 or info.issparse() or not (info.isfile() or info.isdir()):
        raise BadArchive(f"its member {info.name!r} is neither a plain file nor a directory")
    return path.parts


def _without_top(members: Sequence[_Member]) -> list[_Member]:
    tops = {member.parts[:1] for member in members if member.parts}
    if len(tops) != 1 or any(len(member.parts) == 1 and member.info.isfile() for member in members):
        return list(members)
    return [_Member(member.info, member.parts[1:]) for member in members]


def _write(tar: tarfile.TarFile, member: _Member, folder: Path) -> None:
    target = folder.joinpath(*member.parts)
    if member.info.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member.info)
    assert source is not None  # it is None only for what is no file
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
