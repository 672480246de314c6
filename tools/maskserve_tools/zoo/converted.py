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

import maskserve_server
import maskserve_tools
from maskserve.errors import ToolError
from maskserve_tools.converting.paddle_folder import PaddleFolder, sha256
from maskserve_tools.zoo.cache import cache_folder, exclusive

_ENGINES = ("onnxruntime", "openvino", "paddlepaddle")
# One process is as fast as three for the few requests of one client, and needs little of /dev/shm.
_HOW = {"precision": "fp32", "layout": "single"}


def converted(folder: PaddleFolder, *, engine: str, report: Callable[[str], None]) -> Path:
    """The model repository with just the model of `folder`; it is converted unless the cache has it.

    The cache knows it by all that makes a difference: the model's files, the engine, which engines are installed, and
    maskserve's own code.

    Args:
        folder: the model.
        engine: one of `maskserve_tools.options.ENGINES`.
        report: called with a line for each step.

    Raises:
        ToolError: it cannot be converted, or the cache cannot be written.
    """
    made = {"files": folder.digests(), "engine": engine, "with": _versions(), "code": _code(), **_HOW}
    place = cache_folder() / "converted" / _digest(made)
    if place.is_dir():
        return place
    with exclusive(place, lambda: report(f"another process is converting {folder.path}; waiting for it")):
        if not place.is_dir():  # else that other process has done it
            _convert(folder.path, place, engine, report)
    return place


def _convert(source: Path, place: Path, engine: str, report: Callable[[str], None]) -> None:
    """Convert beside the place, then move: what is there is whole."""
    from maskserve_tools.converting.conversion import convert

    staging = place.with_name(f".{place.name}.converting")  # only who holds the lock touches it
    shutil.rmtree(staging, ignore_errors=True)
    report(f"converting {source}, once: the result is kept in {place}")
    try:
        convert(source, repository=staging / "models", engine=engine, report=report, **_HOW)
        (staging / "models").rename(place)
    except OSError as error:
        raise ToolError(f"{place} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _versions() -> dict[str, str]:
    found = {}
    for package in _ENGINES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _code() -> dict[str, str]:
    """The digests of the modules that convert and of those that are copied into entries, by path."""
    tools, server = Path(maskserve_tools.__file__).parent, Path(maskserve_server.__file__).parent
    modules = [*(tools / "converting").rglob("*.py"), *(server / "adapters").glob("*.py")]
    return {path.relative_to(path.parents[2]).as_posix(): sha256(path) for path in sorted(modules)}


def _digest(made: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:32]
