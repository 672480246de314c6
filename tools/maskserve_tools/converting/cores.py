"""Making a model's core: ONNX where it can be, Paddle where not, and the fastest engine that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_server import spec as server_spec
from maskserve_tools.converting.blueprint import Blueprint
from maskserve_tools.converting.core_check import check_core
from maskserve_tools.converting.measured import preference, reason
from maskserve_tools.converting.onnx_export import export
from maskserve_tools.converting.rewriting.rewrite import rewrite

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Core:
    """A core that has answered once.

    Attributes:
        engine: what runs it.
        precision: what it computes in.
        reason: why that engine.
        files: what it consists of.
    """

    engine: str
    precision: str
    reason: str
    files: tuple[Path, ...]


def make_core(blueprint: Blueprint, scratch: Path, engine: str, precision: str, report: Report, *, exact: bool) -> Core:
    """Make the core for the engine asked for; for "auto" for the fastest one that runs it.

    Args:
        blueprint: the model.
        scratch: a directory to work in; the core's files are left there.
        engine: one of `maskserve_tools.options.ENGINES`.
        precision: one of `maskserve_tools.options.PRECISIONS`.
        report: called with a line for each step.
        exact: whether what will run it computes in true float32 on a CPU.

    Raises:
        ToolError: the engine, or for "auto" every engine, fails; the message says why.
    """
    if precision != "fp32":
        engine = _with_precision(engine, precision)
    if engine != "paddle":
        need("paddle2onnx", "converting to ONNX")
    family, failures = blueprint.points.family, list[str]()
    for candidate in preference(family) if engine == "auto" else (engine,):
        try:
            files = _files(blueprint, scratch, candidate, report, exact=exact)
            report(f"checking the core on {candidate}")
            (scratch / server_spec.FILE_NAME).write_text(blueprint.spec(candidate, precision).to_json())
            check_core(scratch)
        except ToolError as error:
            if engine != "auto":
                raise ToolError(f"the core cannot be made for {candidate}: {error.message}") from error
            failures.append(f"{candidate} cannot run it: {error.message}")
            report(failures[-1])
            continue
        why = "asked for" if engine != "auto" else "; ".join([*failures, reason(family, candidate)])
        return Core(candidate, precision, why, files)
    raise ToolError("no engine can run this model: " + "; ".join(failures))


def _with_precision(engine: str, precision: str) -> str:
    """The engine for a lower precision, which OpenVINO alone has on CPUs."""
    if engine not in ("auto", "openvino"):
        raise ToolError(f"{engine} computes in fp32 only on CPUs; for {precision} use --engine openvino")
    need("openvino", f"computing in {precision}")
    from maskserve_server.engines.openvino import precisions

    if precision not in precisions():
        raise ToolError(f"this CPU does not compute in {precision}, only in {', '.join(sorted(precisions()))}")
    return "openvino"


def need(module: str, purpose: str) -> None:
    """Make sure that an optional package is there.

    Raises:
        ToolError: it is not; the message says how to get it.
    """
    if find_spec(module) is None:
        raise ToolError(f'{purpose} needs {module}: pip install "maskserve[server,convert]"')


def _files(blueprint: Blueprint, scratch: Path, engine: str, report: Report, *, exact: bool) -> tuple[Path, ...]:
    need(engine, f"the {engine} engine")
    if engine == "paddle":
        return blueprint.write_piece(scratch)
    target = scratch / "core.onnx"
    if not target.exists():
        report("exporting the core to ONNX")
        _export(blueprint, scratch, target, exact=exact)
    return (target,)


def _export(blueprint: Blueprint, scratch: Path, target: Path, *, exact: bool) -> None:
    if blueprint.points.build_onnx is not None:
        blueprint.points.build_onnx(blueprint.program, blueprint.folder.weights, target, exact=exact)
    else:
        export(*blueprint.write_piece(scratch), target)
    rewrite(target, exact=exact)
