"""Quantise the core of a version directory, in a process of its own, and say what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import ToolError
from maskserve_convert.child import run_module
from maskserve_convert.int8.calibration import Calibration
from maskserve_server.engine_table import SEVEN_BITS

IMAGE_LINE, RESULT_LINE = "image: ", "result: "
# A calibration of a large R-CNN takes a minute for each image on a busy machine.
_SECONDS_AT_LEAST, _SECONDS_PER_IMAGE = 1800, 120
_SURVIVES = 0.7  # of the instances of fp32 that int8 must find again; the demo model has 0.9, random weights below 0.2


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the quantised core's answers compare with those of the core that it was made of.

    Attributes:
        images: how many images both answered.
        threshold: the score that instances had to exceed.
        expected: instances of the float core.
        again: those of them that the quantised core finds again: the same class, boxes with an IoU of 0.5 or more.
        new: instances that only the quantised core finds.
        score: the median difference of the scores of those found again.
    """

    images: int
    threshold: float
    expected: int
    again: int
    new: int
    score: float

    @property
    def words(self) -> str:
        """What it comes to, in a sentence."""
        return (
            f"of {self.expected} instances that fp32 finds above {self.threshold:g} in {self.images} of the images, "
            f"int8 finds {self.again} again and {self.new} others; scores differ by {self.score:.3f} in the median"
        )

    @property
    def warning(self) -> str:
        """Why the quantised core should not be used; "" if nothing speaks against it."""
        if not self.expected:
            return (
                f"fp32 finds nothing above {self.threshold:g} in the images of the calibration, so that nothing says "
                "what int8 costs: calibrate on images that show what the model looks for, and use `maskserve evaluate`"
            )
        if self.again < _SURVIVES * self.expected:
            return (
                f"this model does not survive int8: {self.words}. Random weights never do; for a trained model "
                "calibrate on images like those that it will see, or use bf16"
            )
        return ""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What a quantisation did.

    Attributes:
        calibration: the images.
        agreement: what it costs.
        quantised: how many convolutions and products are computed in 8 bits.
        tail: how many operations behind them stay in float.
        narrow: whether weights have 7 bits: for processors that sum products in 16 bits.
    """

    calibration: Calibration
    agreement: Agreement
    quantised: int
    tail: int
    narrow: bool

    def record(self) -> Mapping[str, Any]:
        """Return what the provenance says of it."""
        calibration = self.calibration
        return {
            "images": {"seed": calibration.seed, "found": calibration.found, "sha256": calibration.digests()},
            "quantised": self.quantised,
            "weights": SEVEN_BITS if self.narrow else "8 bits",
            "left in float behind the last convolution": self.tail,
            "agreement with fp32": asdict(self.agreement),
        }


def quantise(directory: Path, batched: bool, calibration: Calibration, report: Callable[[str], None]) -> Quantised:
    """Make the ONNX core of a version directory one of 8-bit integers, in its file.

    Args:
        directory: with the core and its description; what the description names as the engine will run it.
        batched: whether the core's outputs have a batch dimension.
        calibration: the images to measure the ranges on.
        report: called with a line for each step.

    Raises:
        ToolError: it cannot be quantised; the message says why.
    """
    count, calls, told = len(calibration.images), 0, 0
    report(f"quantising the core to int8 on {count} of {calibration.found} images (seed {calibration.seed})")

    def listen(line: str) -> None:
        nonlocal calls, told
        if not line.startswith(IMAGE_LINE):
            return
        calls += 1
        if calls - told >= max(1, count // 4):
            told = calls
            report(f"calibrating: {calls} runs of the core, {min(calls, count)} of {count} images seen")

    arguments = [str(directory), "batched" if batched else "one", *map(str, calibration.images)]
    timeout = _SECONDS_AT_LEAST + _SECONDS_PER_IMAGE * count
    printed = run_module(
        "maskserve_convert.int8.process", arguments, timeout=timeout, listen=listen, environment={"NNCF_CI": "1"}
    )
    results = [line for line in printed.splitlines() if line.startswith(RESULT_LINE)]
    if not results:
        raise ToolError(f"quantising ended without a result: {printed[-300:]}")
    result = json.loads(results[-1].removeprefix(RESULT_LINE))
    if "why" in result:
        raise ToolError(result["why"])
    agreement = Agreement(**result["agreement"])
    made = Quantised(calibration, agreement, result["quantised"], result["tail"], result["narrow"])
    if made.narrow:
        report("int8: weights have 7 bits: with 8, sums overflow on processors without VNNI, such as this one")
    report(f"int8: {made.agreement.words}")
    return made
