"""A Paddle inference folder becomes entries of a Triton repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from maskserve.errors import ToolError
from maskserve.paddlex.model_files import wrong_name
from maskserve.temporary import owned_folder, remove_stale
from maskserve_convert.agreement import check_agreement
from maskserve_convert.checked_choices import check_choices, check_serving
from maskserve_convert.container_cores import make_for_container
from maskserve_convert.cores import Core, Report, make_core, need
from maskserve_convert.int8.calibration import Calibration, choose_images
from maskserve_convert.onnx_export.writing import MODEL, check_onnx_folder, write_onnx_folder
from maskserve_convert.paddle.folder import PaddleFolder, sha256
from maskserve_convert.paddle.program import Program
from maskserve_convert.paddle.reading import read_program
from maskserve_convert.provenance import provenance_of
from maskserve_convert.recognised import RecognisedModel
from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.repository import check_place
from maskserve_convert.triton.sizing import Wanted, core_of, write
from maskserve_convert.triton.targets import Container
from maskserve_convert.writable import check_writable, room_explained
from maskserve_server.bundle import write_bundle
from maskserve_server.engine_table import AUTO, EMBEDDED, FP32, ONNXRUNTIME, PADDLE
from maskserve_server.spec import FULL


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion made.

    Attributes:
        name: the model's name, as clients call it.
        entries: the repository directories written.
        family: which architecture was recognised.
        engine: what runs the core.
        reason: why that engine.
        warnings: what is probably wrong with the model's settings or with its core, a sentence each.
        bundle: the one file that was written instead of entries, and
        bundle_size: its size in bytes.
        onnx: the folder that was written instead of entries.
    """

    name: str
    entries: tuple[Path, ...]
    family: str
    engine: str
    reason: str
    warnings: tuple[str, ...] = ()
    bundle: Path | None = None
    bundle_size: int = 0
    onnx: Path | None = None


def convert(
    source: str | Path,
    *,
    repository: str | Path = "model_repository",
    name: str | None = None,
    engine: str = AUTO,
    precision: str = FP32,
    layout: str = "ensemble",
    target: str = EMBEDDED,
    labels: str | Path | None = None,
    bundle: str | Path | None = None,
    onnx: str | Path | None = None,
    queue: int | None = None,
    instances: int | None = None,
    threads: int | None = None,
    decode: str = FULL,
    calibration: Path | Sequence[Path] | None = None,
    seed: int = 0,
    report: Report = lambda line: None,
) -> Conversion:
    """Convert a Paddle inference folder and write its entries into a Triton repository.

    Args:
        source: the folder with `inference.yml`, `inference.json` or `inference.pdmodel`, `inference.pdiparams`; or with
            PaddleDetection's `infer_cfg.yml`, `model.json` or `model.pdmodel`, `model.pdiparams`.
        repository: the model repository; created when it does not exist.
        name: what clients call the model; the `Global.model_name` of `inference.yml` by default.
        engine: what runs the network: "openvino", "onnxruntime", "paddle", or "auto" for the fastest that works.
        precision: what the network computes in: "fp32", or "bf16" and "fp16" where OpenVINO and the CPU have it, or
            "int8" on OpenVINO and ONNX Runtime; lower precision is faster and answers a little differently, see
            `maskserve verify`. For "container-gpu" "fp16" is TensorRT's.
        layout: "ensemble" (three steps that scale apart) or "single" (one process).
        target: what serves it: "embedded" (the python backend, which every server has), or "container-cpu" or
            "container-gpu" (the core in a C++ backend of Triton's containers, batched where the family can be).
        labels: a file with the names of the classes, instead of those in the folder's settings: a name on each line, or
            a list in JSON or YAML.
        bundle: write the model as this one file (``.maskserve``), which `create_pipeline` opens, and no entries.
        onnx: write the core as an ONNX file into this folder, with a program that uses it, and no entries.
        queue: how many requests the server takes in before it refuses the next one at once; None for twice as many as
            are answered in the longest wait, by the time that an image takes on this machine.
        instances: how many images the model computes at the same time; None leaves it to whoever serves it.
        threads: how many threads compute each image; None leaves it to whoever serves it.
        decode: "full", or "reduced" to decode JPEG files to a half, a quarter or an eighth of their size where the
            network looks at no more pixels than that: faster for large images, and answers a little differently.
        calibration: for "int8" images like those that the model will see: files, or directories of them.
        seed: draws the images of the calibration where there are more than it takes.
        report: called with a line for each step, and for each warning.

    Raises:
        ToolError: the folder is not such a model, or it cannot be converted; the repository is then as it was.
    """
    containers = check_choices(
        engine, precision, layout, target, bundle=bundle, onnx=onnx, calibration=calibration, decode=decode
    )
    check_serving(bundle=bundle, onnx=onnx, queue=queue, instances=instances, threads=threads, decode=decode)
    folder = PaddleFolder.open(Path(source), labels=None if labels is None else Path(labels))
    images = _calibration(calibration, seed)
    name = folder.model_name if name is None else name
    if wrong := wrong_name(name):
        raise ToolError(f"{wrong} (--name)")
    if bundle is not None:
        check_writable(Path(bundle).parent)
    elif onnx is not None:
        check_onnx_folder(Path(onnx))
    else:
        check_place(Path(repository), name)
    with _scratch() as scratch:
        report(f"reading {folder.program}")
        recognised, warnings = _recognise(folder, name, scratch)
        recognised = replace(
            recognised, queue=queue, size=Wanted(instances, threads), calibration=images, decode=decode
        )
        for warning in warnings:
            report(f"warning: {warning}")
        report(f"{recognised.points.family}: cutting {recognised.points.where}")
        if containers:
            made = _write_for(containers, recognised, scratch, Path(repository), report)
        elif onnx is not None:
            core = make_core(recognised, scratch, ONNXRUNTIME.name, precision, report, exact=False)
            made = _write_onnx(recognised, core, Path(onnx), report)
        else:
            core = make_core(recognised, scratch, engine, precision, report, exact=precision == FP32)
            made = (
                _write(recognised, core, Path(repository), layout, report)
                if bundle is None
                else _write_bundle(recognised, core, Path(bundle), report)
            )
        return replace(made, warnings=(*warnings, *made.warnings))


@contextmanager
def _scratch() -> Iterator[Path]:
    """Make a temporary folder, which goes at the end, after those that killed conversions have left.

    Raises:
        ToolError: it cannot be made, or has no room.
    """
    remove_stale()
    try:
        with room_explained("a conversion"), owned_folder("convert") as made_in:
            yield made_in.path
    except OSError as error:
        raise ToolError(f"the model cannot be converted: {error}") from error


def _calibration(paths: Path | Sequence[Path] | None, seed: int) -> Calibration | None:
    if not paths:
        return None
    return choose_images([paths] if isinstance(paths, Path) else paths, seed=seed)


def _recognise(folder: PaddleFolder, name: str, scratch: Path) -> tuple[RecognisedModel, tuple[str, ...]]:
    """Read, recognise and cut the program, and compare it with the settings.

    Returns:
        The plan, and what is probably wrong with the settings.

    Raises:
        ToolError: the program is of no known family or is damaged, or the settings do not fit it.
    """
    try:
        recognised = RecognisedModel.recognise(folder, name, _program(folder, scratch))
        return recognised, tuple(check_agreement(recognised))
    # What walking through operators ends in where some are missing, or are not what their exporter writes.
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration, RecursionError) as error:
        raise ToolError(f"{folder.program} is damaged, or not a program as Paddle exports it ({error!r})") from error


def _program(folder: PaddleFolder, scratch: Path) -> Program:
    if folder.program.suffix != ".json":
        need(PADDLE.module, "reading the older .pdmodel format")
    return read_program(folder.program, folder.weights, scratch)


def _write(recognised: RecognisedModel, core: Core, target: Path, layout: str, report: Report) -> Conversion:
    spec = recognised.spec(core.engine, core.precision, core.seconds_per_image)
    digests = {"core": {"sha256": {file.name: sha256(file) for file in core.files}}}
    provenance = provenance_of(recognised, core, layout, digests)
    built = entries.build(spec, recognised.outputs, core.files, layout=layout, provenance=provenance)
    return _finish(recognised, core, built, target, report)


def _write_onnx(recognised: RecognisedModel, core: Core, folder: Path, report: Report) -> Conversion:
    digests = {"core": {"sha256": {MODEL: sha256(core.files[0])}}}
    spec = recognised.spec(core.engine, core.precision, core.seconds_per_image)
    provenance = provenance_of(recognised, core, "onnx", digests)
    write_onnx_folder(folder, spec, core.files[0], recognised.outputs, provenance)
    report(f"wrote {folder}")
    return Conversion(recognised.name, (), recognised.points.family, core.engine, core.reason, onnx=folder)


def _write_bundle(recognised: RecognisedModel, core: Core, path: Path, report: Report) -> Conversion:
    digests = {"core": {"sha256": {file.name: sha256(file) for file in core.files}}}
    provenance = provenance_of(recognised, core, "single", digests)
    files = {file.name: file for file in core.files}
    size = write_bundle(path, recognised.spec(core.engine, core.precision, core.seconds_per_image), files, provenance)
    report(f"wrote {path} ({size / 1e6:.1f} MB)")
    family, warnings = recognised.points.family, core.warnings
    return Conversion(recognised.name, (), family, core.engine, core.reason, warnings, bundle=path, bundle_size=size)


def _write_for(
    containers: Sequence[Container],
    recognised: RecognisedModel,
    scratch: Path,
    target: Path,
    report: Report,
) -> Conversion:
    """Write the entries for a container."""
    container, core, spec, made = make_for_container(containers, recognised, scratch, report)
    report(f"batches: {made.batching}")
    for_container = {"target": container.target, "batches": made.batching}
    provenance = provenance_of(recognised, core, "ensemble", for_container)
    built = entries.build_around(
        spec, recognised.outputs, made.with_provenance(provenance), provenance=provenance, instances=made.instances
    )
    return _finish(recognised, core, built, target, report)


def _finish(
    recognised: RecognisedModel,
    core: Core,
    built: Sequence[repository.Entry],
    target: Path,
    report: Report,
) -> Conversion:
    config = core_of(recognised.name, {entry.config.name: entry.config for entry in built})
    if config is not None:
        write(config, recognised.size)
    written = repository.write(target, recognised.name, built)
    report(f"wrote {', '.join(path.name for path in written)} into {target}")
    family = recognised.points.family
    return Conversion(recognised.name, tuple(written), family, core.engine, core.reason, core.warnings)
