"""What a converted model is, as `model.json` beside each adapter says it: written by `convert`, read by the server."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from maskserve import contract
from maskserve.decoding.limits import Limits
from maskserve.errors import ToolError
from maskserve_server.spec_check import check_document
from maskserve_server.steps import show

FILE_NAME = "model.json"
_UPDATE = "a newer one wrote it; update this one, or convert the model with this one"

# How JPEG files are decoded: all their pixels, as PaddleX does, or about as many as the network looks at.
FULL, REDUCED = DECODINGS = ("full", "reduced")


# The longest wait, and the fewest and the most requests in a queue.
_QUEUE_SECONDS = 10.0
_QUEUE_SIZES = (4, 256)


@dataclass(frozen=True, slots=True)
class Queue:
    """How many requests a model takes in, and how long one may wait. The next is refused at once.

    Attributes:
        size: requests that wait or are under way at most.
        seconds: the longest wait; a request that would wait longer is refused at once.
        seconds_per_image: what an image took when the model was converted; 0 where that was not measured. The server
            learns the real figure from its answers.
    """

    size: int = 64
    seconds: float = _QUEUE_SECONDS
    seconds_per_image: float = 0.0

    def __post_init__(self) -> None:
        times = (self.seconds, self.seconds_per_image)
        if not isinstance(self.size, int) or not self.size >= 1:
            raise ValueError(f"the queue's size is {self.size!r}; it must be a whole number from 1")
        if not all(isinstance(time, int | float) and 0 <= time < 1e6 for time in times) or not self.seconds:
            raise ValueError(f"the queue's seconds are {times!r}; they must be numbers, and the longest wait above 0")

    @classmethod
    def sized(cls, seconds_per_image: float) -> Queue:
        """Return the queue for a model that needs so long for an image: twice what it answers in the longest wait.

        Twice, since the wait is bounded by the pace that the server learns, and the machine may be faster then.
        """
        seconds = max(_QUEUE_SECONDS, math.ceil(4 * seconds_per_image))
        least, most = _QUEUE_SIZES
        size = min(max(round(2 * seconds / max(seconds_per_image, 1e-3)), least), most)
        return cls(size, seconds, float(f"{seconds_per_image:.2g}"))


@dataclass(frozen=True, slots=True)
class CoreSpec:
    """The network.

    Attributes:
        engine: "openvino", "onnxruntime" or "paddle".
        file: the model's file in the version directory.
        inputs: the names of the tensors it reads, of "image", "im_shape", "scale_factor" and "threshold".
        outputs: the names of the tensors it makes, as the family knows them.
        image_shape: [3, height, width] of its input, -1 where it takes any size.
        precision: what it computes in: "fp32", "bf16", "fp16" or "int8".
    """

    engine: str
    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    image_shape: tuple[int, int, int]
    precision: str = "fp32"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything the three stages need to know.

    Attributes:
        family: the name of the family, a key of `maskserve_server.families.FAMILIES`.
        settings: what the family's postprocessing takes from the program (NMS thresholds, ...).
        preprocess: the `Preprocess` list of `inference.yml`, with every setting of every step.
        labels: class names by class index.
        draw_threshold: the score threshold where a request names none.
        classes: how many classes the network tells apart; None where that is not known. There may be more or fewer
            labels.
        decode: "full", or "reduced": JPEG files are decoded to a half, a quarter or an eighth of their size where that
            is not below what the network looks at. Boxes and masks are those of the original size in both cases.
        limits: how large an image may be.
        queue: how many requests are taken in.
    """

    name: str
    family: str
    settings: Mapping[str, Any]
    preprocess: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    draw_threshold: float
    core: CoreSpec
    limits: Limits = field(default_factory=Limits)
    queue: Queue = field(default_factory=Queue)
    classes: int | None = None
    decode: str = FULL

    def __post_init__(self) -> None:
        if self.decode not in DECODINGS:
            raise ValueError(f"decode is {self.decode!r}; it must be one of {', '.join(DECODINGS)}")

    def to_json(self) -> str:
        """Return the text of `model.json`."""
        document = {"contract": contract.VERSION, **asdict(self)}
        if self.decode == FULL:  # as releases that do not know it expect
            del document["decode"]
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def parameters(self) -> Mapping[str, str]:
        """Return what clients read of the model, by the keys of the contract."""
        values = {
            contract.PARAMETER_CONTRACT: str(contract.VERSION),
            contract.PARAMETER_LABELS: json.dumps(self.labels, ensure_ascii=False),
            contract.PARAMETER_DRAW_THRESHOLD: repr(self.draw_threshold),
        }
        return values if self.classes is None else {**values, contract.PARAMETER_CLASSES: str(self.classes)}

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            ToolError: it was written for another version of the contract, or is damaged.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            version = document.pop("contract")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise _damaged(error) from error
        if type(version) is not int or version != contract.VERSION:
            newer = type(version) is int and version > contract.VERSION
            raise ToolError(
                f"{FILE_NAME} is of contract version {show(version)}, this maskserve speaks {contract.VERSION}: "
                f"{_UPDATE if newer else 'convert again'}"
            )
        try:
            check_document(document)
            unknown = _unknown_key(document)
            if unknown is None:
                return cls._from_document(document)
        except ToolError as error:
            raise ToolError(f"this {FILE_NAME} is damaged ({error.message}): convert the model again") from error
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise _damaged(error) from error
        raise ToolError(f"{FILE_NAME} has the key {unknown!r}, which this maskserve does not know: {_UPDATE}")

    @classmethod
    def _from_document(cls, document: dict[str, Any]) -> ModelSpec:
        core: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document["core"].items()
        }
        document["core"] = CoreSpec(**core)
        document["limits"] = Limits(**document["limits"])
        document["queue"] = Queue(**document.get("queue", {}))
        document |= {key: tuple(document[key]) for key in ("preprocess", "labels")}
        return cls(**document)

    @classmethod
    def read(cls, directory: Path) -> ModelSpec:
        """Read the `model.json` of a version directory.

        Raises:
            ToolError: it cannot be read, was written for another version of the contract, or is damaged.
        """
        path = directory / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ToolError(f"{path} cannot be read: {error}") from error
        try:
            return cls.from_json(text)
        except ToolError as error:
            raise ToolError(f"{path}: {error.message}") from error


def _unknown_key(document: Mapping[str, Any]) -> str | None:
    """Return a key that only a newer maskserve can have written."""
    parts = {"": ModelSpec, "core.": CoreSpec, "limits.": Limits, "queue.": Queue}
    for where, kind in parts.items():
        given = document.get(where.removesuffix("."), {}) if where else document
        known = {each.name for each in fields(kind)}
        for key in given:
            if key not in known:
                return f"{where}{key}"
    return None


def _damaged(error: Exception) -> ToolError:
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return ToolError(f"this {FILE_NAME} is damaged ({kind}{error}): convert the model again")
