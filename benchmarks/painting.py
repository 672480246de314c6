"""CPU time of an instance's mask, from the samples at the cut to COCO's string, in the three ways there are.

Pixel by pixel, as run lengths in numpy, and as run lengths in the compiled library (where there is one).

    python benchmarks/painting.py [--instances N] [--seconds S]

Per family, at two image sizes: blobs with a side of 10 to 100 % of the image's, N in an image. The rows "noise" have
masks without any shape in boxes of the image's size: models with random weights answer with such. The ways take
turns in one process on one thread. The table has the median turn's time, divided by N. The masks are compared, too.
Pixel by pixel is what the server did before, and what its tests hold the run lengths against
(`tests/server/painters.py`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The environment and the path come before the imports that read them.
# ruff: noqa: E402
for _library in ("OPENBLAS", "MKL", "OMP"):  # before numpy is imported: one thread, whose time is the work
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "server"))

import cv2
import numpy as np
import painters

from maskserve.masks import encode_crop
from maskserve_server.families import Selection, load_family
from maskserve_server.families.base import Detections
from maskserve_server.painting import once, pasted, runs, twice
from maskserve_server.painting.compiled.library import loaded
from maskserve_server.painting.runs import encode_runs
from maskserve_server.painting.windows import crop_windows

SIZES = ((480, 640), (3000, 4000))
SIDES = (0.1, 0.2, 0.35, 0.6, 1.0)
GOALS = {(480, 640): 0.15, (3000, 4000): 0.5}  # ms
INPUT = 640
PAINTING: tuple[Any, ...] = (once, pasted, runs, twice)
Old = Callable[[int, tuple[int, int, int, int]], np.ndarray]
Shapes = Callable[..., np.ndarray]
Case = tuple[Detections, np.ndarray, Old]  # what paints now, the boxes, what painted before


def blobs(count: int, side: float, cells: int, share: float = 1.0) -> np.ndarray:
    """Return logits of round, ragged shapes, float32 [count, cells, cells]; they fill `share` of the grid."""
    random = np.random.default_rng(int(100 * side) + cells)
    y, x = np.mgrid[:cells, :cells] - (cells - 1) / 2
    radius = share * cells / 2
    noise = np.stack(
        [cv2.GaussianBlur(plane, (0, 0), max(1, radius / 8)) for plane in random.normal(size=(count, cells, cells))]
    )
    rough = noise / noise.std() * radius / 8
    return ((0.9 * radius - np.hypot(y, x) + rough) / max(1, radius / 8)).astype(np.float32)


def noise(count: int, side: float, cells: int, share: float = 1.0) -> np.ndarray:
    """Return logits without any shape, as a model with random weights has them: outlines everywhere."""
    random = np.random.default_rng(int(100 * side * share) + cells)
    values = random.normal(size=(count, cells, cells))
    return np.stack([cv2.GaussianBlur(plane, (0, 0), 1.5) for plane in values]).astype(np.float32) * 10


def boxes_of(count: int, side: float, size: tuple[int, int]) -> np.ndarray:
    """Return boxes in the middle of the image, float32 [count, 4]."""
    corners = np.array([(1 - side) / 2] * 2 + [(1 + side) / 2] * 2) * np.tile(size[::-1], 2)
    return np.tile(corners.astype(np.float32), (count, 1))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)


def detr(count: int, side: float, size: tuple[int, int], shapes: Shapes) -> Case:
    logits, boxes = shapes(count, side, INPUT // 4, side), boxes_of(count, side, size)
    rows = np.concatenate([np.zeros((count, 1)), np.full((count, 1), 0.9), boxes], axis=1).astype(np.float32)
    outputs = {"detections": rows[None], "mask_logits": logits[None]}
    found = load_family("mask_rt_detr", {}).detect(outputs, np.ones(2, np.float32), Selection(0.5))
    return found, boxes, lambda i, window: painters.paint_window_with_cv2(logits[i], size, window, 0.0)


def rcnn(count: int, side: float, size: tuple[int, int], shapes: Shapes) -> Case:
    masks, boxes = sigmoid(shapes(count, side, 28)), boxes_of(count, side, size) - np.float32(0.3)
    rows = np.concatenate([np.zeros((count, 1)), np.full((count, 1), 0.9), boxes], axis=1).astype(np.float32)
    found = load_family("mask_rcnn", {}).detect(
        {"detections": rows, "masks": masks}, np.ones(2, np.float32), Selection(0.5)
    )
    return found, boxes, lambda i, window: painters.paste_with_matrices(masks[i], boxes[i], window, 0.5)


def yoloe(count: int, side: float, size: tuple[int, int], shapes: Shapes) -> Case:
    scale = np.array([INPUT / size[0], INPUT / size[1]], np.float32)
    boxes = boxes_of(count, side, size)
    small = (boxes * np.tile(scale[::-1], 2)).astype(np.float32)
    random = np.random.default_rng(1)
    prototypes = np.concatenate(
        [shapes(count, side, INPUT // 4, side), random.normal(size=(32 - count % 32, 160, 160))]
    )
    weights = np.zeros((len(prototypes), count), np.float32)
    weights[np.arange(count), np.arange(count)] = 1
    settings = {"input_size": (INPUT, INPUT), "score_threshold": 0.01, "nms_threshold": 1.0, "nms_top_k": -1}
    family = load_family("pp_yoloe_seg", {**settings, "keep_top_k": -1, "background_label": -1, "normalized": True})
    outputs = {
        "boxes": small[None],
        "scores": np.linspace(0.9, 0.8, count, dtype=np.float32)[None, None],
        "coefficients": weights[None],
        "prototypes": prototypes[None].astype(np.float32),
    }
    found = family.detect(outputs, scale, Selection(0.5))
    crop = tuple(np.ceil(small[0]).astype(int).tolist())

    def old(i: int, window: tuple[int, int, int, int]) -> np.ndarray:
        return painters.paint_sum(
            weights.T[i], outputs["prototypes"][0], crop, (INPUT,) * 2, size=size, window=window, threshold=0.5
        )

    return found, boxes, old


def solov2(count: int, side: float, size: tuple[int, int], shapes: Shapes) -> Case:
    masks = sigmoid(shapes(count, side, 208, side))
    visible, boxes = (800, 832), boxes_of(count, side, size)
    scale = np.array([800 / size[0], 832 / size[1]], np.float32)
    outputs = {
        "scores": np.full((1, count), 0.9, np.float32),
        "labels": np.zeros((1, count), np.int32),
        "masks": masks[None],
    }
    found = load_family("solov2", {"upsampling": 4}).detect(outputs, scale, Selection(0.5))
    return (
        found,
        boxes,
        lambda i, window: painters.paint_enlarged(masks[i], 4, visible, size=size, window=window, threshold=0.5),
    )


FAMILIES = {"Mask-RT-DETR": detr, "PP-YOLOE_seg": yoloe, "Mask R-CNN": rcnn, "SOLOv2": solov2}


def turns(seconds: float, *ways: Callable[[], object]) -> list[float]:
    """Return the median CPU time of each way in seconds, taken in turns."""
    times: list[list[float]] = [[] for _ in ways]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 3:
        for way, taken in zip(ways, times, strict=True):
            start = time.process_time()
            way()
            taken.append(time.process_time() - start)
    return [statistics.median(taken) for taken in times]


def row(name: str, side: float, size: tuple[int, int], shapes: Shapes, *, count: int, seconds: float) -> str:
    """Return a line of the table."""
    found, boxes, old = FAMILIES[name](count, side, size, shapes)
    windows = crop_windows(np.clip(boxes, 0, np.tile(size[::-1], 2)), size)

    def before() -> list[bytes]:
        return [encode_crop(old(i, window)) for i, window in enumerate(windows)]

    def now() -> list[bytes]:
        return encode_runs(found.paint(range(count), size, windows), windows)

    def in_numpy() -> list[bytes]:
        for module in PAINTING:
            module.loaded = lambda: None
        try:
            return now()
        finally:
            for module in PAINTING:
                module.loaded = loaded

    differ = sum(a != b for a, b in zip(before(), now(), strict=True))
    assert in_numpy() == now(), "the library and numpy paint different masks"
    old_time, numpy_time, new_time = (1000 * taken / count for taken in turns(seconds, before, in_numpy, now))
    place = f"{size[1]}x{size[0]}"
    what = f"{100 * side:.0f} %" if shapes is blobs else "noise"
    met = "yes" if new_time <= GOALS[size] else f"no, {GOALS[size]}"
    measured = f"{old_time:.3f} | {numpy_time:.3f} | {new_time:.3f} | {old_time / new_time:.1f} | {differ}"
    return f"| {name} | {place} | {what} | {measured} | {met} |"


def cpu() -> str:
    """Return the processor, and what of it matters to arithmetic."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(part.split("\t: ", 1) for part in (line.replace("\t\t", "\t") for line in lines) if "\t: " in part)
    features = [
        f
        for f in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
        if f in facts.get("flags", "").split()
    ]
    model = facts.get("model name", "an unknown CPU")
    return f"{model}; {', '.join(features) or 'features unknown'}; numpy {np.__version__}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line of the table")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if loaded() is None:
        print("There is no library: what is called compiled is in numpy, too.", file=sys.stderr)
    print(f"{cpu()}; {options.instances} instances in an image, ms of CPU each.\n")
    print("| family | image | side | pixels | numpy | compiled | faster | masks that differ | goal met |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---|")
    for size in SIZES:
        for name in FAMILIES:
            for side, shapes in [*((side, blobs) for side in SIDES), (1.0, noise)]:
                line = row(name, side, size, shapes, count=options.instances, seconds=options.seconds)
                print(line, flush=True)


if __name__ == "__main__":
    main()
