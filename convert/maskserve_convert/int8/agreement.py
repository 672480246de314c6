"""Compare the answers of two cores on the same images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve import contract
from maskserve.decoding.decode import decode
from maskserve_convert.int8.quantising import Agreement
from maskserve_server.engine_table import FP32
from maskserve_server.engines import load_engine
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import Core, Postprocess, feeds

_SAME = 0.5  # IoU of two boxes from which on they are of one object

Columns = Mapping[str, npt.NDArray[Any]]


def compare_cores(spec: ModelSpec, expected: Path, found: Path, images: Sequence[Path]) -> Agreement:
    """Answer images with both cores, on the model's engine, at the model's own threshold.

    Args:
        spec: the model.
        expected: the core in float.
        found: the quantised core.
        images: image files.
    """
    prepare, postprocess = Preprocessor(spec.preprocess), Postprocess(spec)
    cores = [_core(spec, expected, FP32), _core(spec, found, spec.core.precision)]
    matched, missing, new = list[float](), 0, 0
    for image in images:
        prepared = prepare(decode(image.read_bytes()))
        asked = {
            contract.THRESHOLD: np.array([spec.draw_threshold], np.float32),
            contract.CLASS_IDS: None,
            contract.IMAGE_SIZE: np.array(prepared.size, np.int32),
        }
        arrays = {**feeds(prepared), **asked}
        first, second = (postprocess({**arrays, **core(arrays)}) for core in cores)
        scores = match(first, second)
        matched += scores
        missing += len(first[contract.SCORES]) - len(scores)
        new += len(second[contract.SCORES]) - len(scores)
    score = float(np.median(matched)) if matched else 0.0
    return Agreement(len(images), spec.draw_threshold, len(matched) + missing, len(matched), new, round(score, 5))


def _core(spec: ModelSpec, file: Path, precision: str) -> Core:
    core = replace(spec.core, file=file.name, precision=precision)
    return Core.on(spec, load_engine(core, file.parent, threads=len(os.sched_getaffinity(0))))


def match(expected: Columns, found: Columns) -> list[float]:
    """Find pairs of instances of one class, those of the highest IoU first.

    Returns:
        the difference of the scores of each pair.
    """
    labels, others = expected[contract.LABELS], found[contract.LABELS]
    overlaps = _overlaps(expected[contract.BOXES], found[contract.BOXES]) * (labels[:, None] == others[None])
    differences = []
    while overlaps.size and overlaps.max() >= _SAME:
        one, other = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        differences.append(abs(float(expected[contract.SCORES][one]) - float(found[contract.SCORES][other])))
        overlaps[one], overlaps[:, other] = 0, 0
    return differences


def _overlaps(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the IoU of each two boxes (x0, y0, x1, y1): [n, m]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2]).astype(np.float64)
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.asarray(common / np.maximum(union, 1e-9))
