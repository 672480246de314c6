"""Measure the statistics of batch normalisation, as training does, on one seeded image.

Rules that change weights make the stored means and variances wrong. One pass through Paddle with each layer normalised
by its own batch sets them right, layer by layer.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.models.make_models import PARAMETERS, PROGRAM, Array, Weights, write_weights

Program = Mapping[str, Any]

ACTIVATIONS = {"1.relu", "1.swish", "1.silu", "1.sigmoid", "1.gelu", "1.hardswish"}
BATCH_NORM = "1.batch_norm_"
# Height and width where the program leaves them open.
SIZE = (512, 640)


def activated_biases(program: Program) -> set[str]:
    """Return the bias names of the batch normalisations whose result goes into an activation.

    Args:
        program: a parsed `inference.json`.
    """
    names, readers = _parameter_names(program), _readers(program)
    return {
        names[operator["I"][4]["%"]]
        for operator in _batch_norms(program)
        if readers.get(operator["O"][0]["%"], set()) & ACTIVATIONS
    }


def seeded_image(height: int, width: int, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return a normalised image, float32 [1, 3, height, width], with the spectrum of images and a deviation of 1.

    The amplitude of a spatial frequency falls with the frequency; the three channels share most of their content.
    """
    generator = np.random.RandomState(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1
    shared, own = (generator.standard_normal((channels, height, width)) for channels in (1, 3))
    image = np.fft.ifft2(np.fft.fft2(0.8 * shared + 0.6 * own) / frequency).real
    image -= image.mean((1, 2), keepdims=True)
    normalised: npt.NDArray[np.float32] = (image / image.std())[None].astype(np.float32)
    return normalised


def measure(program: Program, weights: Mapping[str, Array]) -> Weights:
    """Return the means and variances of all batch normalisations, by the names of their tensors.

    Args:
        program: a parsed `inference.json`; it is not changed.
        weights: all weights, in the order of the parameter file.

    Raises:
        ImportError: paddlepaddle is not installed.
        ValueError: a statistic is not finite.
    """
    names = _parameter_names(program)
    training = json.loads(json.dumps(program))
    tensors = []
    for operator in _batch_norms(training):
        tensors += [names[operator["I"][index]["%"]] for index in (1, 2)]
        for attribute in operator["A"]:
            if attribute["N"] in ("is_test", "use_global_stats"):
                attribute["AT"]["D"] = False
            elif attribute["N"] == "momentum":
                attribute["AT"]["D"] = 0.0  # nothing remains of the stored statistics
    with TemporaryDirectory() as scratch:
        (Path(scratch) / PROGRAM).write_text(json.dumps(training), encoding="utf-8")
        write_weights(Path(scratch) / PARAMETERS, weights)
        found = _run(Path(scratch) / "inference")
    measured = {
        name: np.asarray(value, np.float32).reshape(weights[name].shape)
        for name, value in zip(tensors, found, strict=True)
    }
    if bad := [name for name, value in measured.items() if not np.isfinite(value).all()]:
        raise ValueError(f"the statistics of {', '.join(bad)} are not finite")
    return measured


def _run(prefix: Path) -> list[npt.NDArray[np.float32]]:
    """Run the part of a program that leads to batch normalisations; return mean, variance, mean, ... of the batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the import warns about a missing compiler cache
        import paddle

    paddle.enable_static()
    try:
        executor = paddle.static.Executor(paddle.CPUPlace())
        logging.disable(logging.INFO)
        program, *_ = paddle.static.load_inference_model(str(prefix), executor)
        image = next(one for one in program.global_block().ops if _input_name(one) == "image").result(0)
        height, width = SIZE if min(image.shape[2:]) < 0 else image.shape[2:]
        # Drops what the statistics do not need: the other inputs, suppression, masks.
        program = paddle.static.normalize_program(program, image, list(_statistics(program)))
        for operator in program.global_block().ops:
            if operator.name() == "pd_op.batch_norm_":
                operator.set_bool_attr("is_test", False)  # `normalize_program` switched it on
        wanted = list(_statistics(program))
        inputs = {
            "image": seeded_image(height, width),
            "im_shape": np.array([[height, width]], np.float32),
            "scale_factor": np.ones((1, 2), np.float32),
        }
        used = {_input_name(operator) for operator in program.global_block().ops}
        feed = {name: value for name, value in inputs.items() if name in used}
        found: list[npt.NDArray[np.float32]] = executor.run(program, feed=feed, fetch_list=wanted)
        return found
    finally:
        logging.disable(logging.NOTSET)
        paddle.disable_static()


def _input_name(operator: Any) -> str | None:
    """Return the name of the program's input that an operator stands for; None for other operators."""
    return operator.attrs()["name"] if operator.name() in ("pd_op.data", "pd_op.feed") else None


def _statistics(program: Any) -> Iterator[Any]:
    for operator in program.global_block().ops:
        if operator.name() == "pd_op.batch_norm_":
            yield from (operator.result(1), operator.result(2))


def _operators(program: Program) -> list[dict[str, Any]]:
    operators: list[dict[str, Any]] = program["program"]["regions"][0]["blocks"][0]["ops"]
    return operators


def _batch_norms(program: Program) -> list[dict[str, Any]]:
    return [operator for operator in _operators(program) if operator["#"] == BATCH_NORM]


def _parameter_names(program: Program) -> dict[int, str]:
    """Return the names of the parameters by the numbers of their values."""
    return {operator["O"]["%"]: operator["A"][3] for operator in _operators(program) if operator["#"] == "p"}


def _readers(program: Program) -> dict[int, set[str]]:
    """Return the kinds of the operators that read a value, by its number."""
    readers: dict[int, set[str]] = {}
    for operator in _operators(program):
        if operator["#"] != "p":
            for operand in operator.get("I", []):
                readers.setdefault(operand["%"], set()).add(operator["#"])
    return readers
