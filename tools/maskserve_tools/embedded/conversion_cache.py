"""The folder in which converted models are kept, so that one is converted once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import maskserve
import maskserve_convert
import maskserve_server
from maskserve.errors import ToolError
from maskserve_convert.paddle.folder import PaddleFolder, sha256
from maskserve_server.bundle import Bundle
from maskserve_server.engine_table import ENGINES
from maskserve_tools.models.cache import cache_folder, exclusive

_PACKAGES = ("maskserve", "paddle2onnx", *(engine.package for engine in ENGINES))
# One process is as fast as three for the few requests of one client, and needs little of /dev/shm.
_PRECISION, _LAYOUT = "fp32", "single"


def converted(folder: PaddleFolder, *, engine: str, report: Callable[[str], None]) -> Path:
    """Return the model repository with just the model of `folder`; it is converted unless the cache has it.

    The cache's key holds all that makes a difference: the model's files, its name, other names of its classes, the
    engine, the versions of the packages that convert and run it, and maskserve's own code.

    Args:
        folder: the model.
        engine: one of `maskserve_convert.choices.ENGINES`.
        report: called with a line for each step.

    Raises:
        ToolError: it cannot be converted, or the cache cannot be written.
    """
    made = {
        "files": folder.digests(),
        "name": folder.model_name,
        "engine": engine,
        "with": _versions(),
        "code": _code(),
        "how": [_PRECISION, _LAYOUT],
        **({} if folder.labels_file == folder.settings else {"labels": list(folder.labels)}),
    }
    place = cache_folder() / "converted" / digest(made)
    if place.is_dir():
        return place
    with exclusive(place, lambda: report(f"another process is converting {folder.path}; waiting for it")):
        if not place.is_dir():  # else that other process has done it
            _convert(folder, place, engine, report)
    return place


def unbundled(bundle: Path, *, report: Callable[[str], None]) -> Path:
    """Return the model repository with just the model of a bundle; it is unpacked unless the cache has it.

    Raises:
        ToolError: it is damaged, or the cache cannot be written.
    """
    place = cache_folder() / "converted" / digest({"bundle": sha256(bundle), "code": _code()})
    if place.is_dir():
        return place
    with exclusive(place, lambda: report(f"another process is unpacking {bundle}; waiting for it")):
        if not place.is_dir():
            _unpack(Bundle.open(bundle), place)
    return place


def _unpack(bundle: Bundle, place: Path) -> None:
    from maskserve_convert.triton import entries, repository

    staging = place.with_name(f".{place.name}.converting")  # only who holds the lock touches it
    shutil.rmtree(staging, ignore_errors=True)
    try:
        files = bundle.unpack_core(staging / "core")
        built = entries.build(bundle.spec, {}, files, layout=_LAYOUT, provenance=bundle.provenance_text)
        repository.write(staging / "models", bundle.spec.name, built)
        (staging / "models").rename(place)
    except OSError as error:
        raise ToolError(f"{place} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _convert(folder: PaddleFolder, place: Path, engine: str, report: Callable[[str], None]) -> None:
    """Convert beside the place, then move: what is there is whole."""
    from maskserve_convert.conversion import convert

    staging = place.with_name(f".{place.name}.converting")  # only who holds the lock touches it
    shutil.rmtree(staging, ignore_errors=True)
    report(f"converting {folder.path}, once: the result is kept in {place}")
    try:
        convert(
            folder.path,
            repository=staging / "models",
            engine=engine,
            precision=_PRECISION,
            layout=_LAYOUT,
            labels=None if folder.labels_file == folder.settings else folder.labels_file,
            report=report,
        )
        (staging / "models").rename(place)
    except OSError as error:
        raise ToolError(f"{place} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _code() -> dict[str, str]:
    """Return the digests of all modules that make an entry or read it, by their paths.

    These are all of the converter and of the server, and what both share with the client.
    """
    convert, server, client = (Path(str(p.__file__)).parent for p in (maskserve_convert, maskserve_server, maskserve))
    modules = [*convert.rglob("*.py"), *server.rglob("*.py"), client / "contract.py", client / "masks.py"]
    return {path.relative_to(_root(path)).as_posix(): sha256(path) for path in sorted(modules)}


def _root(path: Path) -> Path:
    return next(parent.parent for parent in path.parents if parent.name.startswith("maskserve"))


def digest(made: Mapping[str, Any]) -> str:
    """Return a name for what is made in this way."""
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:32]
