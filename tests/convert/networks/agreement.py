"""One cell of the grid: exported, converted, and compared with uncut Paddle."""

from __future__ import annotations

import runpy
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt

from maskserve import contract
from maskserve.decoding.decoders import OwnProcess
from maskserve.errors import MaskserveError, ToolError
from maskserve.instances import Instances
from maskserve.transport.wire import _masks
from maskserve_convert import core_check
from maskserve_convert.child import ChildFailed
from maskserve_convert.paddle import export as export_child
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import Arrays, Single
from maskserve_tools import convert
from maskserve_tools.verify.comparison import compare
from maskserve_tools.verify.reference import Reference, open_reference
from maskserve_tools.verify.verification import change_a_pixel
from tests.convert.networks.exporting import Cell, export, settings

Image = npt.NDArray[np.uint8]

THRESHOLD = 0.1
CORE_FAILED = "the core cannot be made"
EQUAL, UNSTEADY, DIFFERENT, REFUSED, UNANSWERED = "equal", "unsteady", "different", "refused", "unanswered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a cell.

    Attributes:
        kind: `EQUAL`; `UNSTEADY`, where uncut Paddle itself moves as far, or loses the same instances, when one pixel
            changes by one level; `DIFFERENT`; `REFUSED` by a sentence; `UNANSWERED`, where uncut Paddle itself fails.
        words: the engine and the instances compared, the differences, or the sentence.
    """

    kind: str
    words: str


@contextmanager
def in_this_process() -> Iterator[None]:
    """Let the converter's child modules run in this process, which saves importing Paddle for each of them."""

    def run(module: str, arguments: Sequence[str], **_: object) -> str:
        printed = StringIO()
        arguments_given = mock.patch.object(sys, "argv", [module, *arguments])
        with arguments_given, redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                runpy.run_module(module, run_name="__main__")
            except SystemExit as ended:
                if ended.code:
                    raise ChildFailed(f"{module} failed: {ended.code}") from ended
            except Exception as error:
                raise ChildFailed(f"{module} failed: {type(error).__name__}: {error}") from error
        return printed.getvalue()

    patches = [mock.patch.object(module, "run_module", run) for module in (export_child, core_check)]
    with patches[0], patches[1]:
        yield


def judge(cell: Cell, scratch: Path, *, engine: str = "onnxruntime") -> Outcome:
    """Export a cell into `scratch`, convert it there, and compare a few images with uncut Paddle."""
    from tests.convert.networks.families import NETWORKS

    folder = scratch / "paddle"
    if not (folder / "inference.json").exists():
        export(cell, NETWORKS[cell.family], folder)
    return judge_folder(folder, cell, scratch, engine=engine)


def judge_folder(folder: Path, cell: Cell, scratch: Path, *, engine: str) -> Outcome:
    """The same for a folder that is there; its `inference.yml` is written anew."""
    import yaml

    (folder / "inference.yml").write_text(yaml.safe_dump(settings(cell)), encoding="utf-8")
    try:
        made = convert(folder, repository=scratch / "models", name="m", layout="single", engine=engine)
    except ToolError as error:  # what fails once the program and its settings are understood is no refusal
        return Outcome(DIFFERENT if error.message.startswith(CORE_FAILED) else REFUSED, error.message)
    version = scratch / "models" / "m" / "1"
    spec = ModelSpec.read(version)
    single = Single(spec, version, threads=1, decoder=OwnProcess(spec.limits))
    return _compare(single, open_reference(folder), cell, made.engine)


def images(cell: Cell) -> list[Image]:
    """Smooth noise; square where Paddle's SOLOv2 cannot paint anything else: it scales both sides by one factor."""
    sizes = [(150, 150), (97, 97)] if cell.family == "SOLOv2" and not cell.keep_ratio else [(120, 200), (150, 110)]
    random = np.random.default_rng(3)
    coarse = [random.integers(0, 256, (7, 9, 3)).astype(np.uint8) for _ in sizes]
    return [
        np.asarray(cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC))
        for noise, size in zip(coarse, sizes, strict=True)
    ]


def _compare(single: Single, reference: Reference, cell: Cell, engine: str) -> Outcome:
    found, unsteady = 0, ""
    for image in images(cell):
        try:
            wanted = reference.predict(image, THRESHOLD)
        except Exception as error:  # Paddle's errors are of many types
            return Outcome(UNANSWERED, f"uncut Paddle fails: {str(error).strip().splitlines()[-1][:200]}")
        try:
            served = answered(single, image, THRESHOLD)
        except MaskserveError as error:
            return Outcome(REFUSED, error.message)
        except Exception as error:  # whatever it is, it is not what a server should say
            return Outcome(DIFFERENT, f"{type(error).__name__}: {error}")
        comparison = compare(wanted, served, THRESHOLD)
        if not comparison.equal:
            nearby = [reference.predict(near, THRESHOLD) for near in _nearby(image)]
            comparison = compare(wanted, served, THRESHOLD, nearby=nearby)
            if not (comparison.equal or comparison.unsteady):
                return Outcome(DIFFERENT, str(comparison))
            unsteady = str(comparison)
        found += comparison.matched
    if unsteady:
        return Outcome(UNSTEADY, unsteady)
    return Outcome(EQUAL, f"{found} instances on {engine}") if found else Outcome(DIFFERENT, "nothing was found")


def _nearby(image: Image) -> Iterator[Image]:
    """The same image with one pixel changed by one level, a few times."""
    for number in range(6):
        near = image.copy()
        change_a_pixel(near, number)
        yield near


def answered(single: Single, image: Image, threshold: float) -> Instances:
    """The instances that the stages find in an image."""
    _, encoded = cv2.imencode(".png", image)
    inputs = {
        contract.IMAGE: np.array([encoded.tobytes()], np.object_),
        contract.THRESHOLD: np.array([threshold], np.float32),
        contract.CLASS_IDS: None,
    }
    return _instances(single(inputs))


def _instances(arrays: Arrays) -> Instances:
    height, width = arrays[contract.IMAGE_SIZE].tolist()
    class_ids = arrays[contract.LABELS]
    return Instances(
        boxes_xyxy=arrays[contract.BOXES],
        scores=arrays[contract.SCORES],
        class_ids=class_ids,
        labels=tuple(map(str, class_ids.tolist())),
        masks=_masks([bytes(mask) for mask in arrays[contract.MASKS]], arrays[contract.MASK_BOXES], (height, width)),
        image_size=(height, width),
    )
