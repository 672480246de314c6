"""Convert what a user names: a folder, an archive, a training's output, or an official model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskserve_convert import conversion
from maskserve_convert.checked_choices import check_choices
from maskserve_convert.choices import ENSEMBLE
from maskserve_convert.conversion import Conversion
from maskserve_convert.cores import Report
from maskserve_server.engine_table import AUTO, EMBEDDED, FP32
from maskserve_server.spec import FULL
from maskserve_tools.models.fetching import source_folder


def convert(
    source: str | Path,
    *,
    repository: str | Path = "model_repository",
    name: str | None = None,
    engine: str = AUTO,
    precision: str = FP32,
    layout: str = ENSEMBLE,
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
    """Convert a Paddle model and write its entries into a Triton repository.

    Args:
        source: the folder with `inference.yml`, `inference.json` or `inference.pdmodel`, `inference.pdiparams`; or with
            PaddleDetection's `infer_cfg.yml`, `model.json` or `model.pdmodel`, `model.pdiparams`; or a training's
            output, which holds one in `inference` or `best_model/inference`; or a `.tar`, `.tar.gz` or `.zip` of one of
            these; or the name of an official model, which is fetched where there is no such folder.
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
        ToolError: the source is not such a model, or it cannot be converted; the repository is then as it was.
    """
    check_choices(  # before a model is fetched
        engine, precision, layout, target, bundle=bundle, onnx=onnx, calibration=calibration
    )
    return conversion.convert(
        source_folder(source, report=report),
        repository=repository,
        name=name,
        engine=engine,
        precision=precision,
        layout=layout,
        target=target,
        labels=labels,
        bundle=bundle,
        onnx=onnx,
        queue=queue,
        instances=instances,
        threads=threads,
        decode=decode,
        calibration=calibration,
        seed=seed,
        report=report,
    )
