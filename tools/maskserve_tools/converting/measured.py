"""Which engine is the fastest for a family: measured, so that `--engine auto` can say why."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# For a family that was not measured; Paddle runs everything, and slowest.
_DEFAULT = ("openvino", "onnxruntime", "paddle")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Median times of one model, from `benchmarks/cut_against_uncut.py` at 640x480 on two cores of a Xeon with AVX512.

    Attributes:
        model: which model.
        milliseconds: from decoded pixels to instances, in fp32, by engine.
        uncut: the same for the whole model in PaddleX 3.7.2 itself.
    """

    model: str
    milliseconds: Mapping[str, int]
    uncut: int


MEASURED = {
    "mask_rt_detr": Measurement("Mask-RT-DETR-S", {"openvino": 266, "onnxruntime": 330}, 2141),
    "pp_yoloe_seg": Measurement("PP-YOLOE_seg-S", {"openvino": 135, "onnxruntime": 148}, 2029),
    "solov2": Measurement("SOLOv2", {"openvino": 1751, "onnxruntime": 2288}, 7415),
    "mask_rcnn": Measurement("MaskRCNN-ResNet50-FPN", {"openvino": 1713, "onnxruntime": 1949}, 7117),
}


def preference(family: str) -> tuple[str, ...]:
    """The engines, the fastest first."""
    if family not in MEASURED:
        return _DEFAULT
    milliseconds = MEASURED[family].milliseconds
    return tuple(sorted(_DEFAULT, key=lambda engine: milliseconds.get(engine, MEASURED[family].uncut)))


def reason(family: str, engine: str) -> str:
    """Why this engine, of those that run the core."""
    found = MEASURED.get(family)
    if found is None or engine not in found.milliseconds:
        return f"nothing was measured for {family} on {engine}; the order is that of the other families"
    others = [f"{other} {time:,} ms" for other, time in found.milliseconds.items() if other != engine]
    times = f"{found.milliseconds[engine]:,} ms on {engine}, {', '.join(others)}, uncut in PaddleX {found.uncut:,} ms"
    return f"the fastest: {found.model} at 640x480 took {times} on two cores with AVX512; {_this_cpu()}"


def _this_cpu() -> str:
    flags = _flags()
    if "avx512f" in flags:
        return "this CPU has AVX512, too"
    kind = "AVX2" if "avx2" in flags else platform.machine()
    return f"this CPU ({kind}) is of another kind, which was not measured"


def _flags() -> frozenset[str]:
    """What the CPU can do, as Linux lists it for x86."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))
