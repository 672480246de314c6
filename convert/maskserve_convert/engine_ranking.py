"""Which engine is the fastest for a family: measured, so that `--engine auto` can say why."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from maskserve_server.cpus import cpu_flags
from maskserve_server.engine_table import ONNXRUNTIME, OPENVINO, engine_names

_OPENVINO, _ONNXRUNTIME = OPENVINO.name, ONNXRUNTIME.name


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
    "mask_rt_detr": Measurement("Mask-RT-DETR-S", {_OPENVINO: 266, _ONNXRUNTIME: 330}, 2141),
    "pp_yoloe_seg": Measurement("PP-YOLOE_seg-S", {_OPENVINO: 135, _ONNXRUNTIME: 148}, 2029),
    "solov2": Measurement("SOLOv2", {_OPENVINO: 1751, _ONNXRUNTIME: 2288}, 7415),
    "mask_rcnn": Measurement("MaskRCNN-ResNet50-FPN", {_OPENVINO: 1713, _ONNXRUNTIME: 1949}, 7117),
}


def preference(family: str) -> tuple[str, ...]:
    """Return the engines, the fastest first; in the order of the table for a family that was not measured.

    An engine that was not measured counts as slow as the uncut model.
    """
    if family not in MEASURED:
        return engine_names()
    milliseconds = MEASURED[family].milliseconds
    return tuple(sorted(engine_names(), key=lambda engine: milliseconds.get(engine, MEASURED[family].uncut)))


def reason(family: str, engine: str) -> str:
    """Return why this engine is taken, of those that run the core."""
    found = MEASURED.get(family)
    if found is None or engine not in found.milliseconds:
        return f"nothing was measured for {family} on {engine}; the order is that of the other families"
    others = [f"{other} {time:,} ms" for other, time in found.milliseconds.items() if other != engine]
    times = f"{found.milliseconds[engine]:,} ms on {engine}, {', '.join(others)}, uncut in PaddleX {found.uncut:,} ms"
    return f"the fastest: {found.model} at 640x480 took {times} on two cores with AVX512; {_this_cpu()}"


def _this_cpu() -> str:
    flags = cpu_flags()
    if "avx512f" in flags:
        return "this CPU has AVX512, too"
    kind = "AVX2" if "avx2" in flags else platform.machine()
    return f"this CPU ({kind}) is of another kind, which was not measured"
