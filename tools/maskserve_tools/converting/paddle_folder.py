"""A Paddle inference folder: what is in it, checked before anything heavy starts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskserve.errors import ToolError

_MODEL_FILES = ("inference.json", "inference.pdmodel")
_WEIGHTS = "inference.pdiparams"


@dataclass(frozen=True, slots=True)
class PaddleFolder:
    """An exported model.

    Attributes:
        path: the folder.
        program: its `inference.json` or `inference.pdmodel`.
        weights: its `inference.pdiparams`.
        model_name: `Global.model_name`, or the folder's name where there is none.
        preprocess: the `Preprocess` list.
        labels: class names by class index.
        draw_threshold: the score threshold that PaddleX applies.
    """

    path: Path
    program: Path
    weights: Path
    model_name: str
    preprocess: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    draw_threshold: float

    @classmethod
    def open(cls, path: Path) -> PaddleFolder:
        """Look into a folder.

        Raises:
            ToolError: what is missing or wrong, and in which file.
        """
        if not path.is_dir():
            raise ToolError(f"{path} is not a folder; give the folder that holds inference.yml")
        if missing := missing_files(path):
            raise ToolError(
                f"{path} is not a Paddle inference folder: it has no {', no '.join(missing)}. "
                "Export the model with PaddleX (`Global.mode=export`) or unpack an official *_infer.tar"
            )
        settings = _settings(path / "inference.yml")
        return cls(
            path=path,
            program=next(path / name for name in _MODEL_FILES if (path / name).is_file()),
            weights=path / _WEIGHTS,
            model_name=str((settings.get("Global") or {}).get("model_name") or path.name),
            preprocess=tuple(_required(settings, "Preprocess", list, path)),
            labels=tuple(str(label) for label in _required(settings, "label_list", list, path)),
            draw_threshold=float(settings.get("draw_threshold", 0.5)),
        )

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each of its files, by name."""
        files = (self.path / "inference.yml", self.program, self.weights)
        return {file.name: sha256(file) for file in files}


def missing_files(path: Path) -> list[str]:
    """The files that a Paddle inference folder needs and `path` does not have."""
    missing = [name for name in ("inference.yml", _WEIGHTS) if not (path / name).is_file()]
    if not any((path / name).is_file() for name in _MODEL_FILES):
        missing.append(" or ".join(_MODEL_FILES))
    return missing


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ToolError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ToolError(f"{path} does not hold the settings of a Paddle model")
    return settings


def _required(settings: Mapping[str, Any], key: str, kind: type, folder: Path) -> Any:
    value = settings.get(key)
    if not isinstance(value, kind) or not value:
        raise ToolError(f"{folder / 'inference.yml'} has no {key}; is this an instance segmentation model?")
    return value


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
