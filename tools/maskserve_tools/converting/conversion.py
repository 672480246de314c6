"""A Paddle inference folder becomes entries of a Triton repository."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_server.preprocess import Preprocessor
from maskserve_tools.converting import entries, repository, targets
from maskserve_tools.converting.backends import MODEL_FILE
from maskserve_tools.converting.blueprint import Blueprint
from maskserve_tools.converting.child import run_module
from maskserve_tools.converting.container_core import container_core
from maskserve_tools.converting.cores import Core, Report, make_core, need
from maskserve_tools.converting.paddle_folder import PaddleFolder, sha256
from maskserve_tools.converting.program.pir import Program
from maskserve_tools.converting.targets import Container
from maskserve_tools.options import ENGINES, LAYOUTS, PRECISIONS, TARGETS
from maskserve_tools.zoo.fetching import source_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime", "paddle": "paddlepaddle"}


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


def convert(
    source: str | Path,
    *,
    repository: str | Path = "model_repository",
    name: str | None = None,
    engine: str = "auto",
    precision: str = "fp32",
    layout: str = "ensemble",
    target: str = targets.EMBEDDED,
    report: Report = lambda line: None,
) -> Conversion:
    """Convert a Paddle inference folder and write its entries into a Triton repository.

    Args:
        source: the folder with `inference.yml`, `inference.json` or `inference.pdmodel`, `inference.pdiparams`; or the
            name of an official model, which is fetched where there is no such folder.
        repository: the model repository; created when it does not exist.
        name: what clients call the model; the `Global.model_name` of `inference.yml` by default.
        engine: what runs the network: "openvino", "onnxruntime", "paddle", or "auto" for the fastest that works.
        precision: what the network computes in: "fp32", or "bf16" and "fp16" where OpenVINO and the CPU have it; lower
            precision is faster and answers a little differently, see `maskserve verify`. For "container-gpu" "fp16" is
            TensorRT's.
        layout: "ensemble" (three steps that scale apart) or "single" (one process).
        target: what serves it: "embedded" (the python backend, which every server has), or "container-cpu" or
            "container-gpu" (the core in a C++ backend of Triton's containers, batched where the family can be).
        report: called with a line for each step.

    Raises:
        ToolError: the folder is not such a model, or it cannot be converted; the repository is then as it was.
    """
    _check(engine, ENGINES, "engine")
    _check(precision, PRECISIONS, "precision")
    _check(layout, LAYOUTS, "layout")
    _check(target, TARGETS, "target")
    container = None if target == targets.EMBEDDED else targets.container(target, engine, precision, layout)
    folder = PaddleFolder.open(source_folder(source, report=report))
    name = name or folder.model_name
    if not _NAME.fullmatch(name):
        raise ToolError(f"{name!r} cannot be a model's name: use letters, digits, '.', '_' and '-' (--name)")
    Preprocessor(folder.preprocess)  # an unknown step is an error of the folder, not of the server that meets it later
    with TemporaryDirectory(prefix="maskserve-convert-") as scratch:
        report(f"reading {folder.program}")
        blueprint = Blueprint.draw(folder, name, _program(folder, Path(scratch)))
        report(f"{blueprint.points.family}: cutting {blueprint.points.where}")
        if container is not None:
            return _write_for(container, blueprint, Path(scratch), Path(repository), report)
        core = make_core(blueprint, Path(scratch), engine, precision, report, exact=precision == "fp32")
        return _write(blueprint, core, Path(repository), layout, report)


def _check(value: str, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        raise ToolError(f"{value!r} is not a known {what}; choose one of {', '.join(allowed)}")


def _program(folder: PaddleFolder, scratch: Path) -> Program:
    if folder.program.suffix == ".json":
        return Program.read(folder.program)
    need("paddle", "reading the older .pdmodel format")
    translated = scratch / "translated.json"
    run_module("maskserve_tools.converting.program.legacy", [str(folder.program), str(translated)])
    return Program.read(translated)


def _write(blueprint: Blueprint, core: Core, target: Path, layout: str, report: Report) -> Conversion:
    spec = blueprint.spec(core.engine, core.precision)
    digests = {"core": {"sha256": {file.name: sha256(file) for file in core.files}}}
    provenance = _provenance(blueprint, core, layout, digests)
    built = entries.build(spec, blueprint.outputs, core.files, layout=layout, provenance=provenance)
    return _finish(blueprint, core, built, target, report)


def _write_for(container: Container, blueprint: Blueprint, scratch: Path, target: Path, report: Report) -> Conversion:
    """The same for a container; the core is checked on this machine's CPU, in fp32, as far as that goes."""
    checked = make_core(blueprint, scratch, container.backend, "fp32", report, exact=container.exact)
    core = replace(checked, precision=container.precision, reason=container.reason)
    spec = blueprint.spec(core.engine, core.precision)
    spec = replace(spec, core=replace(spec.core, file=MODEL_FILE))
    report(f"looking whether {container.backend} can batch the core")
    made = container_core(spec, container, core.files[0], scratch)
    report(f"batches: {made.batching}")
    for_container = {"target": container.target, "batches": made.batching}
    provenance = _provenance(blueprint, core, "ensemble", for_container)
    built = entries.build_around(
        spec, blueprint.outputs, made.with_provenance(provenance), provenance=provenance, instances=made.instances
    )
    return _finish(blueprint, core, built, target, report)


def _finish(
    blueprint: Blueprint, core: Core, built: Sequence[repository.Entry], target: Path, report: Report
) -> Conversion:
    written = repository.write(target, blueprint.name, built)
    report(f"wrote {', '.join(path.name for path in written)} into {target}")
    return Conversion(blueprint.name, tuple(written), blueprint.points.family, core.engine, core.reason)


def _provenance(blueprint: Blueprint, core: Core, layout: str, more: Mapping[str, Any] | None = None) -> str:
    """Where an entry came from; without times or machine names, so that converting again gives the same bytes."""
    folder, points = blueprint.folder, blueprint.points
    packages = ("maskserve", "paddlepaddle", "paddle2onnx", _PACKAGES[core.engine])
    record: Mapping[str, Any] = {
        "source": {"model_name": folder.model_name, "sha256": folder.digests()},
        "contract": contract.VERSION,
        "family": points.family,
        "cut": {
            "where": points.where,
            "outputs": {name: list(tensor.dims) for name, tensor in blueprint.outputs.items()},
        },
        "engine": {"name": core.engine, "precision": core.precision, "why": core.reason},
        "layout": layout,
        "versions": {package: found for package in dict.fromkeys(packages) if (found := _version(package))},
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **(more or {}),
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
