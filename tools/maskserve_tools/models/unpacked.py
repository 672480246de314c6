"""Archives that users bring, unpacked once into the cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from maskserve.errors import ToolError
from maskserve.paddlex.model_files import archive_stem
from maskserve_convert.paddle.folder import sha256
from maskserve_tools.models.archive import BadArchive, extract
from maskserve_tools.models.cache import cache_folder, exclusive


def unpacked(archive: Path, *, report: Callable[[str], None]) -> Path:
    """Return the folder with what an archive holds. It belongs to the cache, which knows the archive by its content.

    Args:
        archive: a `.tar`, `.tar.gz` or `.zip`.
        report: called with a line for each step.

    Raises:
        ToolError: the archive cannot be used, or the cache cannot be written.
    """
    try:
        place = cache_folder() / "unpacked" / sha256(archive)[:32] / archive_stem(archive)
    except OSError as error:
        raise ToolError(f"{archive} cannot be read: {error.strerror}") from error
    if place.is_dir():
        return place
    with exclusive(place, lambda: report(f"another process is unpacking {archive}; waiting for it")):
        if not place.is_dir():  # else that other process has done it
            report(f"unpacking {archive} into {place}")
            _install(archive, place)
    return place


def _install(archive: Path, place: Path) -> None:
    """Unpack beside the place, then move: what is there is whole."""
    staging = place.with_name(f".{place.name}.unpacking")  # only who holds the lock touches it
    shutil.rmtree(staging, ignore_errors=True)
    try:
        extract(archive, staging)
        staging.rename(place)
    except BadArchive as error:
        raise BadArchive(f"{archive} cannot be used: {error.message}") from error
    except OSError as error:
        raise ToolError(f"{place} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
