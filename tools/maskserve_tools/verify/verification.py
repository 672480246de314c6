"""Prove a conversion: the same images through the original folder in Paddle and through the server."""

from __future__ import annotations

import json
import multiprocessing
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskserve.errors import MaskserveError, ToolError
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.triton.repository import PROVENANCE
from maskserve_tools.verify.comparison import Comparison, compare

if TYPE_CHECKING:
    from maskserve.pipeline import Pipeline
    from maskserve_tools.verify.reference import Reference, ReferenceInstance


# How often Paddle is asked again where answers differ: with one pixel changed, and with its input rounded otherwise.
_PIXELS, _ROUNDINGS = 6, 4
_LOOKED_AT = 640  # pixels of the longer side, the least of what the networks' inputs have


@dataclass(frozen=True, slots=True)
class ImageVerdict:
    """What came out for one image at one threshold.

    Attributes:
        image: the file.
        threshold: the score threshold both sides were asked for.
        comparison: the differences; None where Paddle itself cannot answer.
        problem: why there is no comparison.
    """

    image: Path
    threshold: float
    comparison: Comparison | None
    problem: str | None = None

    @property
    def equal(self) -> bool:
        """Whether the served answer is Paddle's; an image that Paddle cannot answer proves nothing either way."""
        return self.comparison is not None and self.comparison.equal


def verify(
    pipeline: Pipeline, source: Path, images: Sequence[Path], thresholds: Sequence[float], *, ties: bool = False
) -> Iterator[ImageVerdict]:
    """Compare the served answers with Paddle's, image by image.

    Args:
        pipeline: the served model.
        source: the original Paddle inference folder.
        images: image files.
        thresholds: score thresholds to compare at.
        ties: where answers differ, ask Paddle again, a few times with one pixel changed by one level and a few times
            with the network's input changed by a millionth part: what comes and goes with that is counted apart, and an
            answer that moves farther with that is called unsteady.

    Yields:
        a verdict for each image and threshold.

    Raises:
        ServerError: the server cannot be used.
    """
    with ReferenceProcess(source) as reference:
        for input_image in images:
            answers = reference.predict(input_image, thresholds)
            if isinstance(answers, str):
                yield from (ImageVerdict(input_image, threshold, None, answers) for threshold in thresholds)
                continue
            nearby: list[list[list[ReferenceInstance]]] | None = None
            for number, threshold in enumerate(thresholds):
                (result,) = pipeline.predict(input_image, threshold=threshold)
                found = compare(answers[number], result.instances, threshold)
                if ties and not found.equal:
                    nearby = nearby or _nearby(reference, input_image, thresholds)
                    others = [answer[number] for answer in nearby]
                    found = compare(answers[number], result.instances, threshold, nearby=others)
                yield ImageVerdict(input_image, threshold, found)


def _nearby(
    reference: ReferenceProcess, input_image: Path, thresholds: Sequence[float]
) -> list[list[list[ReferenceInstance]]]:
    """Return Paddle's answers, for each threshold, to images that are all but the same."""
    changes = range(_PIXELS + _ROUNDINGS)
    answers = (reference.predict(input_image, thresholds, change=change) for change in changes)
    return [answer for answer in answers if not isinstance(answer, str)]


def check_source(entry: Path, source: Path) -> None:
    """Make sure that a repository entry was converted from a folder.

    Args:
        entry: the entry's directory.
        source: the Paddle inference folder.

    Raises:
        ToolError: the entry is missing, or was converted from other files.
    """
    if not (entry / PROVENANCE).is_file():
        raise ToolError(f"{entry} is not an entry that `maskserve convert` wrote")
    try:
        recorded = dict(json.loads((entry / PROVENANCE).read_text(encoding="utf-8"))["source"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolError(f"{entry / PROVENANCE} is damaged ({error!r}): convert {source} again") from error
    found = PaddleFolder.open(source, named=False).digests()
    changed = sorted(name for name, digest in found.items() if recorded.get(name) != digest)
    if changed:
        raise ToolError(f"{entry.name} was not converted from {source}: {', '.join(changed)} differ; convert it again")


class ReferenceProcess:
    """Paddle on the original folder, in a process of its own: a large image can take more memory than there is.

    It may take six tenths of the memory that is free when it starts, so that it ends before the system has to choose
    whom to kill.

    Args:
        source: the Paddle inference folder.
    """

    def __init__(self, source: Path) -> None:
        self._source = PaddleFolder.open(source, named=False).path
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def predict(
        self, input_image: Path, thresholds: Sequence[float], *, change: int | None = None
    ) -> list[list[ReferenceInstance]] | str:
        """Return Paddle's instances for each threshold, or why it could not answer.

        Args:
            input_image: an image file.
            thresholds: score thresholds.
            change: numbers below 6 change one pixel by one level (of a large image a patch), those from 6 on the whole
                input by a millionth part. The number chooses which pixel, and which way.
        """
        try:
            self._ours.send((input_image, tuple(thresholds), change))
            answer: list[list[ReferenceInstance]] | str = self._ours.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._stop()
            self._start()
            return "Paddle's process was ended, most likely for want of memory"
        return answer

    def __enter__(self) -> ReferenceProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        self._ours, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_answer, args=(self._source, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def _stop(self) -> None:
        self._ours.close()
        self._process.join(timeout=5)
        self._process.kill()
        self._process.join()
        self._process.close()


def _answer(source: Path, requests: Connection[Any, Any]) -> None:
    """Answer requests until the other side closes."""
    import warnings

    warnings.simplefilter("ignore")  # Paddle's import has things to say about compilers
    import cv2

    from maskserve_tools.verify.reference import open_reference

    try:
        reference = open_reference(source)
    except (MaskserveError, MemoryError, RuntimeError, OSError, ValueError, NotImplementedError) as error:
        _say_why_not(requests, f"Paddle cannot load the model: {_cause(error)}{_of_half_precision(source)}")
        return
    _limit_memory()
    while True:
        try:
            input_image, thresholds, change = requests.recv()
        except EOFError:
            return
        image = cv2.imread(str(input_image))
        try:
            answer: Any = f"{input_image} cannot be read"
            if image is not None:
                answer = _changed_answer(reference, image, thresholds, change)
        except (MaskserveError, MemoryError, RuntimeError, OSError, ValueError, cv2.error) as error:
            answer = f"Paddle failed: {_cause(error)}"
        requests.send(answer)


def _changed_answer(
    reference: Reference, image: npt.NDArray[np.uint8], thresholds: Sequence[float], change: int | None
) -> list[list[ReferenceInstance]]:
    """Return Paddle's answer to an image, changed as `ReferenceProcess.predict` says."""
    if change is not None and change >= _PIXELS:
        return reference.predict_at(image, thresholds, rounding=change - _PIXELS)
    if change is not None:
        change_a_pixel(image, change)
    return reference.predict_at(image, thresholds)


def _say_why_not(requests: Connection[Any, Any], why: str) -> None:
    """Answer every request with the same words until the other side closes."""
    while True:
        try:
            requests.recv()
        except EOFError:
            return
        requests.send(why)


def _cause(error: Exception) -> str:
    """Return the line of an error that says what is wrong: with Paddle the one above its hint, otherwise the last."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    above = [line for line, below in pairwise(said) if below.startswith("[Hint")]
    return (above or said)[-1][:200]


def _of_half_precision(source: Path) -> str:
    """Return what to do about a program that computes in half precision; nothing for another."""
    program = PaddleFolder.open(source, named=False).program
    if program.suffix != ".json" or not any(name in program.read_bytes() for name in (b"t_f16", b"t_bf16")):
        return ""
    return "; it uses half precision, for which Paddle has few operators on a CPU: compare with an export in float32"


def change_a_pixel(image: npt.NDArray[np.uint8], number: int) -> None:
    """Change one pixel by one level in one channel; of a large image a patch, as networks look at every few pixels."""
    side = 1 + max(image.shape[:2]) // _LOOKED_AT
    y, x, channel = np.random.default_rng(number).integers(0, image.shape)
    image[y : y + side, x : x + side, channel] ^= 1


def _limit_memory() -> None:
    """Let this process take six tenths of the memory that is free now, on top of what it has."""
    kilobytes = {
        name: int(value.split()[0])
        for path in ("/proc/meminfo", "/proc/self/status")
        for name, _, value in (line.partition(":") for line in Path(path).read_text(encoding="utf-8").splitlines())
        if value.strip().endswith("kB")
    }
    limit = int(1024 * (kilobytes["VmSize"] + 0.6 * kilobytes["MemAvailable"]))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
