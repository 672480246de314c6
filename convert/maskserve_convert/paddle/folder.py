"""A Paddle inference folder: what is in it, checked before anything heavy starts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskserve.errors import ToolError
from maskserve.paddlex.model_files import SETTINGS, ModelFiles, as_name, find_model, name_of
from maskserve_convert.paddle.label_file import check_labels, read_labels
from maskserve_convert.paddle.yaml_file import YamlFile
from maskserve_server.steps import PADDLEDETECTION, PADDLEX, as_settings, is_number, read_steps, show


@dataclass(frozen=True, slots=True)
class PaddleFolder:
    """An exported model.

    Attributes:
        path: the folder.
        settings: its `inference.yml`, or PaddleDetection's `infer_cfg.yml`.
        program: its `inference.json` or `inference.pdmodel`; or `model.json` or `model.pdmodel`.
        weights: its `inference.pdiparams` or `model.pdiparams`.
        model_name: `Global.model_name`, or the folder's name where there is none, made a name that a model can have.
        preprocess: the `Preprocess` list, with every setting of every step.
        labels: class names by class index.
        draw_threshold: the score threshold that PaddleX applies.
        claims: what else the settings say of the program: `Global.model_name`, `arch`, `mask`, `use_dynamic_shape`.
        labels_file: where the labels are from.
    """

    path: Path
    settings: Path
    program: Path
    weights: Path
    model_name: str
    preprocess: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    draw_threshold: float
    labels_file: Path
    claims: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, *, labels: Path | None = None, named: bool = True) -> PaddleFolder:
        """Look into a folder, or into the one below it that holds the model.

        Args:
            path: the folder.
            labels: a file with the class names, see `read_labels`. The `label_list` of the settings is not looked at
                then: it may be wrong, or not be there.
            named: whether the class names are looked at at all; False for who needs none.

        Raises:
            ToolError: what is missing or wrong, and in which file.
            InvalidParameter: several models are below it.
        """
        if not os.path.isdir(path):
            raise ToolError(f"{path} is not a folder; give the folder that holds inference.yml")
        path = find_model(path) or path
        files = ModelFiles.of(path)
        if files.settings is None or files.program is None or files.weights is None:
            raise ToolError(
                f"{path} is not a Paddle inference folder: it has no {', no '.join(files.missing())}. {_how(path)}"
            )
        content = YamlFile.read(files.settings)
        if not isinstance(content.value, dict):
            raise ToolError(
                f"{files.settings} does not hold the settings of a Paddle model: it is {show(content.value)}"
            )
        claims = _claims(content.value, files.settings)
        preprocess = _required(content.value, "Preprocess", files.settings)
        names = () if not named else _labels(content) if labels is None else read_labels(labels)
        steps = read_steps(
            preprocess,
            where=f"{files.settings}: Preprocess",
            defaults=PADDLEX if files.settings.name == SETTINGS[0] else PADDLEDETECTION,
        )
        return cls(
            path=path,
            settings=files.settings,
            program=files.program,
            weights=files.weights,
            model_name=as_name(str(claims.get("Global.model_name") or name_of(path))),
            preprocess=as_settings(steps),
            labels=names,
            draw_threshold=_draw_threshold(content.value, files.settings),
            labels_file=files.settings if labels is None else labels,
            claims=claims,
        )

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of its files, by name."""
        return {file.name: sha256(file) for file in (self.settings, self.program, self.weights)}


def missing_files(path: Path) -> list[str]:
    """Return the files that a Paddle inference folder needs and `path` does not have."""
    return ModelFiles.of(path).missing()


def _how(path: Path) -> str:
    """Return what to do about files that are missing."""
    try:
        checkpoint = next((file for file in sorted(path.glob("*.pdparams"))), None)
    except OSError:
        checkpoint = None
    if checkpoint is not None:
        return (
            f"{checkpoint.name} is a training's checkpoint, which cannot be served: "
            "export it with PaddleX (`Global.mode=export`), and give the folder `inference` that this makes"
        )
    return (
        "Export the model with PaddleX (`Global.mode=export`) or PaddleDetection (`tools/export_model.py`), "
        "or unpack an official *_infer.tar"
    )


def _required(settings: Mapping[Any, Any], key: str, file: Path) -> Any:
    if key not in settings:
        raise ToolError(f"{file} has no {key}; is this an instance segmentation model?")
    if settings[key] in (None, "", [], {}):
        raise ToolError(f"{file}: {key} is empty; is this an instance segmentation model?")
    return settings[key]


def _labels(content: YamlFile) -> tuple[str, ...]:
    found = _required(content.value, "label_list", content.path)
    labels = content.texts("label_list")
    if labels is None:
        raise ToolError(f"{content.path}: label_list is {show(found)}; it must be a list of names, such as `- person`")
    return check_labels(labels, f"{content.path}: label_list")


def _draw_threshold(settings: Mapping[Any, Any], file: Path) -> float:
    value = settings.get("draw_threshold", 0.5)
    if not is_number(value) or not 0 <= value <= 1:
        raise ToolError(f"{file}: draw_threshold is {show(value)}; it must be a number from 0 to 1")
    return float(value)


def _claims(settings: Mapping[Any, Any], file: Path) -> dict[str, Any]:
    overall = settings.get("Global")
    if overall is not None and not isinstance(overall, dict):
        raise ToolError(f"{file}: Global is {show(overall)}; it must be a map, such as `Global: {{model_name: NAME}}`")
    name = (overall or {}).get("model_name")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise ToolError(f"{file}: Global.model_name is {show(name)}; it must be a name")
    claims = {"Global.model_name": name}
    for key, kind, allowed in (("arch", str, "a word"), ("mask", bool, "true or false"),
                               ("use_dynamic_shape", bool, "true or false")):  # fmt: skip
        value = claims[key] = settings.get(key)
        if value is not None and not isinstance(value, kind):
            raise ToolError(f"{file}: {key} is {show(value)}; it must be {allowed}")
    return {key: value for key, value in claims.items() if value is not None}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
