"""Fetching an official model: from the cache, or from PaddleX's download site or a mirror of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from maskserve.errors import ToolError
from maskserve.inputs.urls import shown
from maskserve.paddlex.model_files import ARCHIVES, find_model, is_archive
from maskserve_convert import catalogue
from maskserve_convert.catalogue import VERSIONS
from maskserve_convert.paddle.folder import sha256
from maskserve_tools.models.archive import BadArchive, unpack
from maskserve_tools.models.cache import CachedModel, cache_folder, file_sizes
from maskserve_tools.models.download import LIMITS, Limits, Progress, Refused, Report, Unreachable, discard, download
from maskserve_tools.models.unpacked import unpacked

SOURCE = "https://paddle-model-ecology.bj.bcebos.com/paddlex/official_inference_model"
ENVIRONMENT = "MASKSERVE_MODEL_SOURCE"


def fetch(
    name: str,
    *,
    version: str = VERSIONS[0],
    source: str | None = None,
    cache: str | Path | None = None,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
    report: Report = lambda line: None,
) -> Path:
    """Return the folder of an official model; it is downloaded and unpacked unless the cache has it.

    An archive `NAME_infer.tar` that somebody put into the cache is used instead of a download.

    Args:
        name: a name of `maskserve models`.
        version: the release of Paddle that exported it, one of `catalogue.VERSIONS`.
        source: the address under which `VERSION/NAME_infer.tar` is; MASKSERVE_MODEL_SOURCE or PaddleX's own by default.
        cache: the folder to keep models in; see `cache_folder` for the default.
        limits: what the download may cost.
        progress: called as bytes arrive.
        report: called with a line for each step.

    Returns:
        The folder that holds `inference.yml`. It belongs to the cache.

    Raises:
        ToolError: no such model, no network, or not what was expected at the other end.
    """
    catalogue.find(name)
    if version not in VERSIONS:
        raise ToolError(f"{version!r} is not a known version; choose one of {', '.join(VERSIONS)}")
    url = f"{_source(source)}/{version}/{name}_infer.tar"
    model = CachedModel.at(Path(cache) if cache else cache_folder(), version, name)
    if model.is_good():
        return model.folder
    with model.locked(lambda: report(f"another process is fetching {name}; waiting for it")):
        if not model.is_good():  # else that other process has done it
            _check_replaceable(model, report)
            if model.archive.is_file():
                _install(model, model.archive, url=None, report=report)
            else:
                _download(model, url, limits, progress, report)
    return model.folder


def source_folder(source: str | Path, *, report: Report = lambda line: None) -> Path:
    """Return the folder of the model that `source` means: a path, an archive, or the name of an official model.

    A folder or archive that exists comes first, whatever its name. An archive is unpacked into the cache; an official
    model is fetched. Of a training's output `inference` or `best_model/inference` is taken.

    Raises:
        ToolError: it is none of these; or it cannot be fetched or unpacked.
        InvalidParameter: it holds several models; the message names them.
    """
    path, name = Path(source), str(source)
    if is_archive(path):
        inside = unpacked(path, report=report)
        return _followed(inside, f"{path} (unpacked in {inside})", report)
    if os.path.isdir(path):
        return _followed(path, str(path), report)
    if catalogue.is_official(name):
        return fetch(name, progress=by_tenths(report), report=report)
    if os.path.isfile(path):
        raise ToolError(
            f"{path} is neither a folder nor an archive ({', '.join(ARCHIVES)}); "
            "give the folder that holds inference.yml"
        )
    if os.sep not in name and (close := catalogue.close_names(name)):
        raise ToolError(
            f"{name} is not a folder, and not one of PaddleX's models either; did you mean {' or '.join(close)}?"
        )
    return path


def _followed(path: Path, called: str, report: Report) -> Path:
    found = find_model(path)
    if found is not None and found != path:
        report(f"the model of {called} is in {found.relative_to(path)}")
    return found or path


def by_tenths(report: Report) -> Progress:
    """Return a function that reports progress as lines, one for each tenth that has arrived."""
    reported = 0

    def progress(received: int, total: int | None) -> None:
        nonlocal reported
        if total and (tenth := 10 * received // total) > reported:
            reported = tenth
            report(f"{tenth * 10} % of {total / 1e6:.1f} MB")

    return progress


def _source(source: str | None) -> str:
    chosen = (os.environ.get(ENVIRONMENT) or SOURCE) if source is None else source
    if not _is_address(chosen):
        raise ToolError(
            f"{shown(chosen)!r} cannot be a source of models (--source, {ENVIRONMENT}): give an http or https address "
            "without user name, '?' and '#', under which VERSION/NAME_infer.tar is"
        )
    return chosen.rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = not (parts.query or parts.fragment or parts.username or parts.password)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and plain
    except ValueError:  # no number, or brackets that hold no IPv6 address
        return False


def _check_replaceable(model: CachedModel, report: Report) -> None:
    if not model.folder.exists():
        return
    if model.read_record() is None:
        raise ToolError(
            f"{model.folder} is there but is not a whole model, and `maskserve fetch` did not make it: move it away"
        )
    report(f"{model.folder} is not as it was fetched; fetching it again")


def _download(model: CachedModel, url: str, limits: Limits, progress: Progress | None, report: Report) -> None:
    report(f"downloading {url}")
    try:
        download(url, model.partial, limits=limits, progress=progress, report=report)
    except Unreachable as error:
        raise ToolError(f"{error.message}. {_without_network(model)}") from error
    except Refused as error:
        others = "|".join(version for version in VERSIONS if version != model.folder.parent.name)
        raise ToolError(f"{error.message}. Try `maskserve fetch --version {others}`, or another --source") from error
    try:
        _install(model, model.partial, url=url, report=report)
    except BadArchive:
        discard(model.partial)
        raise
    discard(model.partial)


def _without_network(model: CachedModel) -> str:
    return (
        f"Without a network: download that file elsewhere and put it at {model.archive}, or unpack it and give "
        f"`maskserve convert` the folder. A mirror is chosen with {ENVIRONMENT}, or `maskserve fetch --source`"
    )


def _install(model: CachedModel, archive: Path, *, url: str | None, report: Report) -> None:
    """Unpack beside its place, record, then move: the folder is whole from the moment it is there."""
    report(f"unpacking {archive}")
    shutil.rmtree(model.staging, ignore_errors=True)
    try:
        unpack(archive, model.staging)
        record = {
            "name": model.folder.name,
            "version": model.folder.parent.name,
            "url": url,
            "size": archive.stat().st_size,
            "sha256": sha256(archive),
            "files": file_sizes(model.staging),
        }
        if model.folder.exists():
            shutil.rmtree(model.folder)
        model.write_record(record)
        model.staging.rename(model.folder)
    except BadArchive as error:
        raise BadArchive(f"{url or archive} cannot be used: {error.message}") from error
    except OSError as error:
        raise ToolError(f"{model.folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(model.staging, ignore_errors=True)
