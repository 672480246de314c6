"""Whether the choices of a conversion are known and go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskserve.errors import ToolError
from maskserve.paddlex.model_files import BUNDLE, is_bundle
from maskserve_convert.choices import ENGINES, LAYOUTS, PRECISIONS, TARGETS
from maskserve_convert.cores import check_precision, need
from maskserve_convert.triton import targets
from maskserve_convert.triton.targets import Container
from maskserve_server.engine_table import AUTO, EMBEDDED, FP32, INT8, ONNXRUNTIME
from maskserve_server.spec import DECODINGS, FULL


def check_choices(
    engine: str,
    precision: str,
    layout: str,
    target: str,
    *,
    bundle: str | Path | None = None,
    onnx: str | Path | None = None,
    calibration: Path | Sequence[Path] | None = None,
    decode: str = FULL,
) -> tuple[Container, ...]:
    """Check whether the choices are known and go together, before anything is read.

    Returns:
        How containers run the core, the best way first; nothing for the embedded server.

    Raises:
        ToolError: they are not known, or the target cannot do it; the message says what it can.
    """
    _check(engine, ENGINES, "engine")
    _check(precision, PRECISIONS, "precision")
    _check(layout, LAYOUTS, "layout")
    _check(target, TARGETS, "target")
    _check(decode, DECODINGS, "decode")
    if bundle is not None:
        _check_bundle(Path(bundle), target)
    if onnx is not None:
        _check_onnx(engine, precision, target, bundle)
    found = () if target == EMBEDDED else targets.containers(target, engine, precision, layout)
    _check_calibration(engine, precision, calibration)
    return found


def check_serving(
    *,
    bundle: str | Path | None,
    onnx: str | Path | None,
    queue: int | None,
    instances: int | None,
    threads: int | None,
    decode: str,
) -> None:
    """Check whether what is said of a server will be read by one.

    Raises:
        ToolError: it makes no sense, or goes into a file that has no place for it.
    """
    if queue is not None and queue < 1:
        raise ToolError(f"queue={queue}: a queue must hold one request at least")
    if any(number is not None and number < 1 for number in (instances, threads)):
        raise ToolError(f"instances={instances}, threads={threads}: both are whole numbers from 1 on")
    given: dict[str, int | str | None] = {"--instances": instances, "--threads": threads}
    if onnx is not None:
        given |= {"--queue": queue, "--decode": None if decode == FULL else decode}
    unread = [option for option, value in given.items() if value is not None]
    if unread and (bundle is not None or onnx is not None):
        what = "--bundle" if onnx is None else "--onnx"
        raise ToolError(f"what {what} writes has no place for {' and '.join(unread)}: leave that out")


def _check_calibration(engine: str, precision: str, calibration: object) -> None:
    if precision != INT8:
        if calibration:
            raise ToolError(f"the images of --calibration are for --precision {INT8}, not for {precision}")
        return
    check_precision(engine, precision)
    if not calibration:
        raise ToolError(f"{INT8} is calibrated on images like those that the model will see: --calibration DIR")
    need("nncf", f"--precision {INT8}", "int8")


def _check(value: str, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        raise ToolError(f"{value!r} is not a known {what}; choose one of {', '.join(allowed)}")


def _check_bundle(bundle: Path, target: str) -> None:
    if target != EMBEDDED:
        raise ToolError(f"a bundle runs in the process of its caller, not in {target}: leave out --target")
    if not is_bundle(bundle):
        raise ToolError(f"{bundle} cannot be a bundle: its name must end with {BUNDLE}, and it must be no folder")


def _check_onnx(engine: str, precision: str, target: str, bundle: str | Path | None) -> None:
    if bundle is not None or target != EMBEDDED or precision != FP32 or engine not in (AUTO, ONNXRUNTIME.name):
        raise ToolError(
            "--onnx writes an fp32 file for every runtime: leave out --bundle, --target, --precision and --engine"
        )
