"""Open what holds a converted model: a bundle, or an entry of a model repository."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from maskserve import contract
from maskserve.errors import InvalidParameter, MaskserveError, ToolError
from maskserve.paddlex.model_files import is_bundle
from maskserve_local.devices import CPU, Place
from maskserve_server.bundle import Bundle
from maskserve_server.cpus import DOT_PRODUCTS, cpu_flags
from maskserve_server.engine_table import ENGINES, INT8, SERVER_EXTRA, SEVEN_BITS, engine_called
from maskserve_server.engines import Engine, load_engine
from maskserve_server.one_conversion import PROVENANCE, NotOfOneConversion, OpenedVersion, check_entries
from maskserve_server.spec import FILE_NAME, ModelSpec

_log = logging.getLogger("maskserve")
_INSTALL = 'pip install "maskserve[local]"'


class Load(Protocol):
    """Loads a core."""

    def __call__(self, threads: int, streams: int = 1) -> Engine:
        """Load it, with so many CPU threads for one run, and for so many runs at the same time."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A converted model.

    Attributes:
        spec: its description.
        load: loads its core; raises `NotOfOneConversion` where that is not the one of `spec` any more.
        device: what its engine calls the device that it runs on.
    """

    spec: ModelSpec
    load: Load
    device: str = "cpu"


def open_source(path: Path, place: Place = CPU) -> Source:
    """Open a bundle, or an entry of a model repository.

    Args:
        path: the file that `maskserve convert --bundle` wrote, or the directory of an entry that clients call.
        place: where its core is to run.

    Raises:
        InvalidParameter: its core cannot run there.
        NotOfOneConversion: it is being converted just now, or such a conversion was ended half-way.
        ToolError: it is neither, is damaged, or was written for another version of the contract.
    """
    if is_bundle(path):
        bundle = Bundle.open(path)
        spec = _placed(bundle.spec, place)
        _warn_of_overflow(spec, bundle.provenance)

        def load_bundle(threads: int, streams: int = 1) -> Engine:
            return bundle.load(threads=threads, streams=streams, core=spec.core, device=place.device)

        return Source(spec, _explained(spec, load_bundle), place.device)
    directory = _version_directory(path)
    if directory.parent != path:
        check_entries(path.parent, contract.entries_of(path.name))
    opened = OpenedVersion.read(directory)
    spec = _placed(opened.spec, place)
    with opened.unchanged():
        if not (directory / spec.core.file).is_file():
            raise ToolError(f"{directory / spec.core.file} is missing: convert the model again")
    _warn_of_overflow(spec, _record(directory.parent))

    def load_entry(threads: int, streams: int = 1) -> Engine:
        return load_engine(spec.core, directory, threads=threads, streams=streams, device=place.device)

    return Source(spec, _unchanged(opened, _explained(spec, load_entry)), place.device)


def _record(entry: Path) -> Mapping[str, Any]:
    """Return the record of the conversion; nothing where there is none that can be read."""
    try:
        record = json.loads((entry / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, Mapping) else {}


def _warn_of_overflow(spec: ModelSpec, record: Mapping[str, Any]) -> None:
    """Warn of 8-bit weights on a processor that overflows with them: nothing else would show it."""
    flags, made = cpu_flags(), record.get("int8")
    is_narrow = isinstance(made, Mapping) and made.get("weights") == SEVEN_BITS
    if spec.core.precision == INT8 and flags and not DOT_PRODUCTS & flags and not is_narrow:
        _log.warning(
            "%s is in int8 with 8-bit weights, and this processor, which has no VNNI, overflows with them: boxes and "
            "scores are less exact; convert it on this machine, or with --precision fp32",
            spec.name,
        )


def _placed(spec: ModelSpec, place: Place) -> ModelSpec:
    """Return the model with the engine of `place`. An ONNX core runs on every engine that reads ONNX.

    Without one it is the model's own engine, or another that is installed where that one is not.
    """
    if place.engine is None:
        return _runnable(spec)
    if place.engine == spec.core.engine:
        return spec
    if not (engine_called(place.engine).reads_onnx and engine_called(spec.core.engine).reads_onnx):
        raise InvalidParameter(
            f"{spec.name} was converted for {spec.core.engine}, and {place.device} needs {place.engine}: convert it "
            f"with --engine {place.engine}"
        )
    return replace(spec, core=replace(spec.core, engine=place.engine))


def _unchanged(opened: OpenedVersion, load: Load) -> Load:
    """Return `load` that refuses the core of another conversion."""

    def unchanged(threads: int, streams: int = 1) -> Engine:
        with opened.unchanged():
            return load(threads, streams)

    return unchanged


def _explained(spec: ModelSpec, load: Load) -> Load:
    """Return `load` with errors that say what to do."""

    def explained(threads: int, streams: int = 1) -> Engine:
        try:
            return load(threads, streams)
        except ImportError as error:
            engine = engine_called(spec.core.engine)
            fix = _INSTALL if engine.extra == SERVER_EXTRA else f"{_INSTALL} {engine.package}"
            raise ToolError(
                f"{spec.name} runs on {engine.package}, which cannot be imported ({error}): {fix}"
            ) from error
        except MaskserveError:
            raise
        except Exception as error:  # whatever an engine raises for a file that it does not take
            raise ToolError(f"{spec.core.engine} cannot load the core of {spec.name}: {error}") from error

    return explained


def _runnable(spec: ModelSpec) -> ModelSpec:
    own = engine_called(spec.core.engine)
    if find_spec(own.module) is not None or not own.reads_onnx:
        return spec
    for engine in ENGINES:
        if engine.reads_onnx and spec.core.precision in engine.precisions and find_spec(engine.module) is not None:
            return replace(spec, core=replace(spec.core, engine=engine.name))
    return spec


def _version_directory(entry: Path) -> Path:
    """Return the directory of the highest version that has the core and its description.

    A model of layout "single" has both in its own entry, one of layout "ensemble" in the entry of its core.
    """
    own = [entry, entry.with_name(contract.step_name(entry.name, contract.CORE))]
    try:
        found = [path.parent for folder in own for path in folder.glob(f"*/{FILE_NAME}")]
    except OSError as error:  # such as a folder that a conversion moves just now
        raise ToolError(f"{entry} cannot be read, try again if it is being converted: {error}") from error
    versions = [path for path in found if path.name.isdigit()]
    if not versions and not any(folder.exists() for folder in own):
        raise NotOfOneConversion(f"{entry} is not there, or not at the moment: try again if it is being converted")
    if not versions and (entry / PROVENANCE).is_file() and not own[1].exists():
        raise NotOfOneConversion(f"{entry} calls {own[1].name}, which is not there: convert {entry.name} again")
    if not versions:
        raise ToolError(
            f"{entry} cannot run in this process: it has no {FILE_NAME} beside a core. Name the directory of a model "
            "that `maskserve convert` wrote for the target embedded, or start a server with server=True"
        )
    return max(versions, key=lambda path: int(path.name))
