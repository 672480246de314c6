"""Prove a conversion: the same photos through the original folder in Paddle and through the server."""

from __future__ import annotations

import json
import multiprocessing
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskserve.errors import MaskserveError, ToolError
from maskserve_tools.converting.paddle_folder import PaddleFolder
from maskserve_tools.converting.repository import PROVENANCE
from maskserve_tools.verifying.comparison import Comparison, compare

if TYPE_CHECKING:
    from maskserve.pipeline import Pipeline
    from maskserve_tools.verifying.reference import ReferenceInstance


_CHANGES = 6
_LOOKED_AT = 640  # pixels of the longer side, the least of what the networks' inputs have


@dataclass(frozen=True, slots=True)
class PhotoVerdict:
    """What came out for one photo at one threshold.

    Attributes:
        photo: the file.
        threshold: the score threshold both sides were asked for.
        comparison: the differences; None where Paddle itself cannot answer.
        problem: why there is no comparison.
    """

    photo: Path
    threshold: float
    comparison: Comparison | None
    problem: str | None = None

    @property
    def equal(self) -> bool:
        """Whether the served answer is Paddle's; a photo that Paddle cannot answer proves nothing either way."""
        return self.comparison is not None and self.comparison.equal


def verify(
    pipeline: Pipeline, source: Path, photos: Sequence[Path], thresholds: Sequence[float], *, ties: bool = False
) -> Iterator[PhotoVerdict]:
    """Compare the served answers with Paddle's, photo by photo.

    Args:
        pipeline: the served model.
        source: the original Paddle inference folder.
        photos: image files.
        thresholds: score thresholds to compare at.
        ties: where answers differ, ask Paddle for the photo with one pixel changed by one level, a few times: what
            comes and goes with that is counted apart, and an answer that moves farther with that is called unsteady.

    Yields:
        a verdict for each photo and threshold.

    Raises:
        ServerError: the server cannot be used.
    """
    with ReferenceProcess(source) as reference:
        for photo in photos:
            answers = reference.predict(photo, thresholds)
            if isinstance(answers, str):
                yield from (PhotoVerdict(photo, threshold, None, answers) for threshold in thresholds)
                continue
            nearby: list[list[list[ReferenceInstance]]] | None = None
            for number, threshold in enumerate(thresholds):
                (result,) = pipeline.predict(photo, threshold=threshold)
                found = compare(answers[number], result.instances, threshold)
                if ties and not found.equal:
                    nearby = nearby or _nearby(reference, photo, thresholds)
                    others = [answer[number] for answer in nearby]
                    found = compare(answers[number], result.instances, threshold, nearby=others)
                yield PhotoVerdict(photo, threshold, found)


def _nearby(
    reference: ReferenceProcess, photo: Path, thresholds: Sequence[float]
) -> list[list[list[ReferenceInstance]]]:
    """Paddle's answers, for each threshold, to photos that differ from this one in one level of one pixel."""
    answers = (reference.predict(photo, thresholds, change=change) for change in range(_CHANGES))
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
    recorded = json.loads((entry / PROVENANCE).read_text())["source"]["sha256"]
    found = PaddleFolder.open(source).digests()
    changed = sorted(name for name, digest in found.items() if recorded.get(name) != digest)
    if changed:
        raise ToolError(f"{entry.name} was not converted from {source}: {', '.join(changed)} differ; convert it again")


class ReferenceProcess:
    """Paddle on the original folder, in a process of its own: a large photo can take more memory than there is.

    It may take six tenths of the memory that is free when it starts, so that it dies before the system has to choose
    whom to kill.

    Args:
        source: the Paddle inference folder.
    """

    def __init__(self, source: Path) -> None:
        self._source = PaddleFolder.open(source).path
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def predict(
        self, photo: Path, thresholds: Sequence[float], *, change: int | None = None
    ) -> list[list[ReferenceInstance]] | str:
        """Paddle's instances for each threshold, or why it could not answer.

        Args:
            photo: an image file.
            thresholds: score thresholds.
            change: change one pixel by one level (of a large photo a patch); which one is chosen by this number.
        """
        try:
            self._ours.send((photo, tuple(thresholds), change))
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

    from maskserve_tools.verifying.reference import open_reference

    reference = open_reference(source)
    _limit_memory()
    while True:
        try:
            photo, thresholds, change = requests.recv()
        except EOFError:
            return
        image = cv2.imread(str(photo))
        if image is not None and change is not None:
            _change_a_pixel(image, change)
        try:
            answer: Any = f"{photo} cannot be read" if image is None else reference.predict_at(image, thresholds)
        except (MaskserveError, MemoryError, RuntimeError, OSError, ValueError) as error:
            answer = f"Paddle failed: {str(error).strip().splitlines()[-1][:200]}"
        requests.send(answer)


def _change_a_pixel(image: npt.NDArray[np.uint8], number: int) -> None:
    """Change one pixel by one level in one channel; of a large photo a patch, as networks look at every few pixels."""
    side = 1 + max(image.shape[:2]) // _LOOKED_AT
    y, x, channel = np.random.default_rng(number).integers(0, image.shape)
    image[y : y + side, x : x + side, channel] ^= 1


def _limit_memory() -> None:
    """Let this process take six tenths of the memory that is free now, on top of what it has."""
    kilobytes = {
        name: int(value.split()[0])
        for path in ("/proc/meminfo", "/proc/self/status")
        for name, _, value in (line.partition(":") for line in Path(path).read_text().splitlines())
        if value.strip().endswith("kB")
    }
    limit = int(1024 * (kilobytes["VmSize"] + 0.6 * kilobytes["MemAvailable"]))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
