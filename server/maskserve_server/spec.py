"""What a converted model is, as `model.json` beside each adapter says it: written by `convert`, read by the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskserve import contract
from maskserve.errors import ToolError

FILE_NAME = "model.json"

DEFAULT_MAX_BYTES = 64 << 20
DEFAULT_MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for: the size of the encoded image, and the pixels it decodes to."""

    max_bytes: int = DEFAULT_MAX_BYTES
    max_pixels: int = DEFAULT_MAX_PIXELS


@dataclass(frozen=True, slots=True)
class CoreSpec:
    """The network.

    Attributes:
        engine: "openvino", "onnxruntime" or "paddle".
        file: the model's file in the version directory.
        inputs: the names of the tensors it reads, of "image", "im_shape", "scale_factor" and "threshold".
        outputs: the names of the tensors it makes, as the family knows them.
        image_shape: [3, height, width] of its input, -1 where it takes any size.
        precision: what it computes in: "fp32", "bf16" or "fp16".
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
        preprocess: the `Preprocess` list of `inference.yml`, as it is there.
        labels: class names by class index.
        draw_threshold: the score threshold where a request names none.
    """

    name: str
    family: str
    settings: Mapping[str, Any]
    preprocess: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    draw_threshold: float
    core: CoreSpec
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> str:
        """The text of `model.json`."""
        return json.dumps({"contract": contract.VERSION, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            ToolError: it was written for another version of the contract.
        """
        document: dict[str, Any] = json.loads(text)
        version = document.pop("contract")
        if version != contract.VERSION:
            raise ToolError(
                f"{FILE_NAME} is of contract version {version}, this maskserve speaks {contract.VERSION}: convert again"
            )
        core: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document["core"].items()
        }
        document["core"] = CoreSpec(**core)
        document["limits"] = Limits(**document["limits"])
        document |= {key: tuple(document[key]) for key in ("preprocess", "labels")}
        return cls(**document)

    @classmethod
    def read(cls, directory: Path) -> ModelSpec:
        """Read the `model.json` of a version directory."""
        return cls.from_json((directory / FILE_NAME).read_text())
