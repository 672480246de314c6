"""Making a model's core: ONNX where it can be, Paddle where not, and the fastest engine that runs it."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_convert.child import ChildFailed
from maskserve_convert.core_check import check_core
from maskserve_convert.engine_ranking import preference, reason
from maskserve_convert.int8.quantising import Quantised, quantise
from maskserve_convert.onnx.model import load, save
from maskserve_convert.onnx.pipeline import rewrite
from maskserve_convert.onnx.report import PassReport
from maskserve_convert.paddle.damage import DamagedFile
from maskserve_convert.paddle.export import export
from maskserve_convert.recognised import RecognisedModel
from maskserve_server import spec as server_spec
from maskserve_server.engine_table import AUTO, FP32, INT8, ONNX_FILES, EngineRow, engine_called, engine_names
from maskserve_server.engines import native_precisions
from maskserve_server.families import FAMILIES

Report = Callable[[str], None]

# Of a long reason.
_BEGINNING, _END = 150, 350
_WITHOUT_RULE = re.compile(r"No conversion rule found for operations: ([\w, .-]*\w)")  # OpenVINO's


@dataclass(frozen=True, slots=True)
class Core:
    """A core that has answered once.

    Attributes:
        engine: what runs it.
        precision: what it computes in.
        reason: why that engine.
        files: what it consists of.
        passes: what the passes over its ONNX graph did; none where it is not ONNX.
        seconds_per_image: what an image took on this machine.
        quantised: what the quantisation did, of an int8 core.
    """

    engine: str
    precision: str
    reason: str
    files: tuple[Path, ...]
    passes: tuple[PassReport, ...] = ()
    seconds_per_image: float = 0.0
    quantised: Quantised | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against using it, a sentence each."""
        found = self.quantised.agreement.warning if self.quantised is not None else ""
        return (found,) if found else ()


def make_core(
    recognised: RecognisedModel, scratch: Path, engine: str, precision: str, report: Report, *, exact: bool
) -> Core:
    """Make the core for the engine asked for; for "auto" for the fastest one that runs it.

    Args:
        recognised: the model.
        scratch: a directory to work in; the core's files are left there.
        engine: one of `maskserve_convert.choices.ENGINES`.
        precision: one of `maskserve_convert.choices.PRECISIONS`.
        report: called with a line for each step.
        exact: whether what will run it computes in true float32 on a CPU.

    Raises:
        ToolError: the engine, or for "auto" every engine, fails; the message says why.
        OSError: there is no room in `scratch`.
    """
    if precision != FP32:
        engine = _with_precision(engine, precision)
    if engine == AUTO or engine_called(engine).reads_onnx:
        for module in ("paddle2onnx", "onnx_ir"):
            need(module, "converting to ONNX")
    family, failures = recognised.points.family, list[str]()
    onnx = _OnnxFile(recognised, scratch / ONNX_FILES[0], exact)
    for candidate in preference(family) if engine == AUTO else (engine,):
        row = engine_called(candidate)
        try:
            files = _files(recognised, scratch, row, onnx, report)
            report(f"checking the core on {candidate}")
            (scratch / server_spec.FILE_NAME).write_text(
                recognised.spec(candidate, precision).to_json(), encoding="utf-8"
            )
            quantised = _quantise(recognised, scratch, report) if precision == INT8 else None
            seconds = check_core(scratch)
        except DamagedFile:
            raise  # no engine can help
        except Exception as error:  # engines and converters raise what they like: for "auto" the next one may do
            if is_full(error):  # another engine, or a slower one that happens to need less, is no remedy
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            if engine != AUTO:
                raise ToolError(f"the core cannot be made for {candidate}: {words_of(error)}") from error
            failures.append(f"{candidate} cannot run it: {words_of(error)}")
            report(failures[-1])
            continue
        why = "asked for" if engine != AUTO else "; ".join([*failures, reason(family, candidate)])
        return Core(candidate, precision, why, files, onnx.passes if row.reads_onnx else (), seconds, quantised)
    raise ToolError("no engine can run this model: " + "; ".join(failures))


def is_full(error: Exception) -> bool:
    """Return whether the disk is full, as this process or a child of it found out."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, ChildFailed) and os.strerror(errno.ENOSPC) in error.message


def words_of(error: Exception) -> str:
    """Return what an error says, on one line: of a long one the beginning and the end, where the cause is."""
    if unknown := _WITHOUT_RULE.search(str(error)):
        return f"it has no rule for {unknown[1]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = [] if isinstance(error, ToolError) else [type(error).__name__]
    words = " / ".join([*kind, *lines])
    return words if len(words) <= _BEGINNING + _END else f"{words[:_BEGINNING]} ... {words[-_END:]}"


def check_precision(engine: str, precision: str) -> list[str]:
    """Return the engines that compute in a precision on a CPU, the first of the table first.

    Raises:
        ToolError: the engine asked for is none of them.
    """
    having = [row.name for row in map(engine_called, engine_names()) if precision in row.precisions]
    if engine not in (AUTO, *having):
        only = " and ".join(engine_called(engine).precisions)
        raise ToolError(f"{engine} computes in {only} only on CPUs; for {precision} use --engine {' or '.join(having)}")
    return having


def _with_precision(engine: str, precision: str) -> str:
    """Return the engine for a lower precision: the one asked for, else the first of the table that has it.

    Raises:
        ToolError: that engine or this CPU does not compute in it.
    """
    having = check_precision(engine, precision)
    row = engine_called(having[0] if engine == AUTO else engine)
    need(row.module, f"computing in {precision}")
    native = native_precisions(row)
    if precision not in native:
        raise ToolError(f"this CPU does not compute in {precision}, only in {', '.join(sorted(native))}")
    return row.name


def _quantise(recognised: RecognisedModel, scratch: Path, report: Report) -> Quantised:
    assert recognised.calibration is not None, "the choices were checked"
    made = quantise(scratch, FAMILIES[recognised.points.family].batched, recognised.calibration, report)
    if made.agreement.warning:
        report(f"warning: {made.agreement.warning}")
    return made


def need(module: str, purpose: str, extras: str = "server,convert") -> None:
    """Make sure that an optional package is there.

    Args:
        module: its module.
        purpose: what needs it.
        extras: those of maskserve that bring it.

    Raises:
        ToolError: it is not; the message says how to get it.
    """
    if find_spec(module) is None:
        python = sys.version_info[:2]
        old = f", with Python 3.10 to 3.12 (this is {python[0]}.{python[1]})" if python > (3, 12) else ""
        raise ToolError(f'{purpose} needs {module}: pip install "maskserve[{extras}]"{old}')


def _files(
    recognised: RecognisedModel, scratch: Path, engine: EngineRow, onnx: _OnnxFile, report: Report
) -> tuple[Path, ...]:
    need(engine.module, f"the {engine.name} engine")
    return (onnx.made(report),) if engine.reads_onnx else recognised.write_subgraph(scratch)


class _OnnxFile:
    """The core's ONNX file, which several engines can run: made once, or found impossible once.

    Args:
        recognised: the model.
        target: where it is to be; other files are left beside it.
        exact: whether it will be computed in true float32 on a CPU.

    Attributes:
        passes: what the passes did, once it is made.
    """

    def __init__(self, recognised: RecognisedModel, target: Path, exact: bool) -> None:
        self._recognised, self._target, self._exact = recognised, target, exact
        self._failed = False
        self.passes: tuple[PassReport, ...] = ()

    def made(self, report: Report) -> Path:
        """Return the finished file.

        Raises:
            ToolError: it could not be made when it was asked for before.
        """
        if self._failed:
            raise ToolError("it takes ONNX, too, which the core cannot be exported to")
        if not self._target.exists():
            report("exporting the core to ONNX")
            self._failed = True
            draft = self._target.with_name(f"draft.{self._target.name}")
            self._export(draft)
            draft.replace(self._target)
            self._failed = False
        return self._target

    def _export(self, draft: Path) -> None:
        """Write the draft: the graph is read once, goes through all passes in memory, and is written once."""
        recognised, folder = self._recognised, self._target.parent
        if recognised.points.build_onnx is not None:
            model = recognised.points.build_onnx(recognised.program, recognised.folder.weights, folder)
        else:
            export(*recognised.write_subgraph(folder), draft)
            model = load(draft)
        self.passes = rewrite(model, exact=self._exact)
        save(model, draft)
