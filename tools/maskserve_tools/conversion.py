"""A Paddle inference folder becomes entries of a Triton repository."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_server import spec as server_spec
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import CoreSpec, ModelSpec
from maskserve_tools import entries, repository
from maskserve_tools.child import run_module
from maskserve_tools.core_check import check_core
from maskserve_tools.families.base import CutPoints
from maskserve_tools.families.recognise import recognise
from maskserve_tools.onnx_export import export
from maskserve_tools.paddle_folder import PaddleFolder
from maskserve_tools.program import weights
from maskserve_tools.program.cut import CutProgram, cut
from maskserve_tools.program.pir import Program

ENGINES = ("auto", "openvino", "onnxruntime", "paddle")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PACKAGES = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime",),
    "paddle": ("paddlepaddle",),
}

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion made.

    Attributes:
        name: the model's name, as clients call it.
        entries: the repository directories written.
        family: which architecture was recognised.
        engine: what runs the core.
        reason: why that engine.
    """

    name: str
    entries: tuple[Path, ...]
    family: str
    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Wish:
    name: str
    engine: str
    layout: str


@dataclass(frozen=True, slots=True)
class _Core:
    engine: str
    reason: str
    files: tuple[Path, ...]


def convert(
    source: str | Path,
    *,
    repository: str | Path = "model_repository",
    name: str | None = None,
    engine: str = "auto",
    layout: str = "ensemble",
    report: Report = lambda line: None,
) -> Conversion:
    """Convert a Paddle inference folder and write its entries into a Triton repository.

    Args:
        source: the folder with `inference.yml`, `inference.json` or `inference.pdmodel`, `inference.pdiparams`.
        repository: the model repository; created when it does not exist.
        name: what clients call the model; the `Global.model_name` of `inference.yml` by default.
        engine: what runs the network: "openvino", "onnxruntime", "paddle", or "auto" for the fastest that works.
        layout: "ensemble" (three steps that scale apart) or "single" (one process).
        report: called with a line for each step.

    Raises:
        ToolError: the folder is not such a model, or it cannot be converted; the repository is then as it was.
    """
    _check(engine, ENGINES, "engine")
    _check(layout, entries.LAYOUTS, "layout")
    folder = PaddleFolder.open(Path(source))
    name = name or folder.model_name
    if not _NAME.fullmatch(name):
        raise ToolError(f"{name!r} cannot be a model's name: use letters, digits, '.', '_' and '-' (--name)")
    Preprocessor(folder.preprocess)  # an unknown step is an error of the folder, not of the server that meets it later
    with TemporaryDirectory(prefix="maskserve-convert-") as scratch:
        return _convert(folder, Path(scratch), Path(repository), _Wish(name, engine, layout), report)


def _convert(folder: PaddleFolder, scratch: Path, target: Path, wish: _Wish, report: Report) -> Conversion:
    report(f"reading {folder.program}")
    program = _read(folder, scratch)
    points = recognise(program)
    report(f"{points.family}: cutting {points.where}")
    piece = cut(program, points.outputs)
    piece.program.write(scratch / "core.json")
    names = [op.parameter_name for op in program.named("p")]
    weights.subset(folder.weights, names, piece.parameters, scratch / "core.pdiparams")

    def describe(core: str) -> ModelSpec:
        return _describe(folder, wish.name, points, piece, core)

    core = _build_core(scratch, wish.engine, describe, report)
    spec = describe(core.engine)
    outputs = {
        key: entries.TensorType(piece.program.dtype(value), piece.program.shape(value))
        for key, value in points.outputs.items()
    }
    provenance = _provenance(folder, points, piece, core, wish.layout)
    built = entries.build(spec, outputs, core.files, layout=wish.layout, provenance=provenance)
    written = repository.write(target, wish.name, built)
    report(f"wrote {', '.join(path.name for path in written)} into {target}")
    return Conversion(wish.name, tuple(written), points.family, core.engine, core.reason)


def _check(value: str, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        raise ToolError(f"{value!r} is not a known {what}; choose one of {', '.join(allowed)}")


def _read(folder: PaddleFolder, scratch: Path) -> Program:
    if folder.program.suffix == ".json":
        return Program.read(folder.program)
    _need("paddle", "reading the older .pdmodel format")
    translated = scratch / "translated.json"
    run_module("maskserve_tools.program.legacy", [str(folder.program), str(translated)])
    return Program.read(translated)


def _need(module: str, purpose: str) -> None:
    if find_spec(module) is None:
        raise ToolError(f'{purpose} needs {module}: pip install "maskserve[convert]"')


def _describe(folder: PaddleFolder, name: str, points: CutPoints, piece: CutProgram, engine: str) -> ModelSpec:
    image = piece.program.feeds()["image"].outputs[0]
    _, channels, height, width = piece.program.shape(image)
    core = CoreSpec(
        engine=engine,
        file="core.json" if engine == "paddle" else "core.onnx",
        inputs=piece.feeds,
        outputs=tuple(points.outputs),
        image_shape=(channels, height, width),
    )
    return ModelSpec(
        name=name,
        family=points.family,
        settings=points.settings,
        preprocess=folder.preprocess,
        labels=folder.labels,
        draw_threshold=folder.draw_threshold,
        core=core,
    )


def _build_core(scratch: Path, engine: str, describe: Callable[[str], ModelSpec], report: Report) -> _Core:
    """Make the core for the engine asked for; for "auto" the fastest one that passes its check."""
    reasons: list[str] = []
    candidates = ("openvino", "onnxruntime", "paddle") if engine == "auto" else (engine,)
    for candidate in candidates:
        try:
            files = _core_files(scratch, candidate, report)
            report(f"checking the core on {candidate}")
            (scratch / server_spec.FILE_NAME).write_text(describe(candidate).to_json())
            check_core(scratch)
        except ToolError as error:
            if engine != "auto":
                raise ToolError(f"the core cannot be made for {candidate}: {error.message}") from error
            reasons.append(f"{candidate} was tried first and cannot run it: {error.message}")
            report(reasons[-1])
            continue
        return _Core(candidate, _reason(engine, candidate, reasons), files)
    raise ToolError("no engine can run this model: " + "; ".join(reasons))


def _core_files(scratch: Path, engine: str, report: Report) -> tuple[Path, ...]:
    _need({"paddle": "paddle"}.get(engine, engine), f"the {engine} engine")
    if engine == "paddle":
        return scratch / "core.json", scratch / "core.pdiparams"
    target = scratch / "core.onnx"
    if not target.exists():
        _need("paddle2onnx", "converting to ONNX")
        report("exporting the core to ONNX")
        export(scratch / "core.json", scratch / "core.pdiparams", target)
    return (target,)


def _reason(asked: str, engine: str, failed: Sequence[str]) -> str:
    if asked != "auto":
        return "asked for"
    if failed:
        return "; ".join(failed)
    return f"{engine} is the fastest engine measured for this family on CPUs (see the README's table)"


def _provenance(folder: PaddleFolder, points: CutPoints, piece: CutProgram, core: _Core, layout: str) -> str:
    """Where an entry came from; without times or machine names, so that converting again gives the same bytes."""
    outputs = {key: list(piece.program.shape(value)) for key, value in points.outputs.items()}
    packages = ("maskserve", "paddlepaddle", "paddle2onnx", *_PACKAGES[core.engine])
    record: Mapping[str, Any] = {
        "source": {"model_name": folder.model_name, "sha256": folder.digests()},
        "contract": contract.VERSION,
        "family": points.family,
        "cut": {"where": points.where, "outputs": outputs},
        "engine": {"name": core.engine, "why": core.reason},
        "layout": layout,
        "versions": {package: found for package in packages if (found := _version(package))},
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
