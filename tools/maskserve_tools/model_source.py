"""What a user names as a model: looked at before anything is fetched, installed or started."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from maskserve.errors import ToolError
from maskserve.paddlex.config import PIPELINE, PIPELINE_MODEL
from maskserve.paddlex.model_files import ARCHIVES, find_model, is_archive, is_bundle
from maskserve_convert import catalogue

# What PaddleX calls its other pipelines, in both generations.
_OTHER_PIPELINES = (
    *("3d_bev_detection", "OCR", "PP-ChatOCRv3-doc", "PP-ChatOCRv4-doc", "PP-DocTranslation", "PP-ShiTuV2"),
    *("PP-StructureV3", "PaddleOCR-VL", "anomaly_detection", "doc_preprocessor", "doc_understanding"),
    *("face_recognition", "formula_recognition", "human_keypoint_detection", "image_classification"),
    *("image_multilabel_classification", "layout_parsing", "multi_label_image_classification"),
    *("multilingual_speech_recognition", "object_detection", "open_vocabulary_detection"),
    *("open_vocabulary_segmentation", "pedestrian_attribute_recognition", "rotated_object_detection"),
    *("seal_recognition", "semantic_segmentation", "small_object_detection", "table_recognition"),
    *("table_recognition_v2", "ts_ad", "ts_anomaly_detection", "ts_classification", "ts_cls", "ts_fc", "ts_forecast"),
    *("ts_forecasting", "vehicle_attribute_recognition", "video_classification", "video_detection"),
)


class Kind(Enum):
    """What a source is."""

    PADDLE = auto()  # a folder, an archive or an official name: to be converted
    BUNDLE = auto()
    ENTRY = auto()
    REPOSITORY = auto()


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that is there, or can be fetched.

    Attributes:
        text: a path, or the name of an official model.
        kind: what it is.
    """

    text: str
    kind: Kind

    @property
    def path(self) -> Path:
        """It as a path."""
        return Path(self.text)


def find_source(text: str, *, labels: str | Path | None = None, named: bool = True) -> ModelSource:
    """Return what `text` names. Nothing is fetched, converted or loaded.

    Args:
        text: a path, or the name of an official model.
        labels: a file with the names of the classes, instead of those in a folder's settings.
        named: whether the names of the classes are looked at.

    Raises:
        ToolError: there is no such thing, or it is no model; the message says what may have been meant.
        InvalidParameter: it holds several models; the message names them.
    """
    if not text:  # as an unset variable of a shell makes it; Path("") would be the current folder
        raise ToolError("the model is an empty text; give a folder, an archive, a bundle or a name")
    if "://" in text:
        raise ToolError(f"{text} is an address: download the model, and name its file or folder here")
    path = Path(text)
    _check_kind_of_file(path)
    if os.path.isdir(path):  # which has False, and no error, for what cannot be a path
        return ModelSource(text, _kind_of(path, None if labels is None else Path(labels), named))
    if path.suffix == ".maskserve" or (os.path.isfile(path) and is_bundle(path)):
        _check_bundle(path)
        return ModelSource(text, Kind.BUNDLE)
    if is_archive(path):
        return ModelSource(text, Kind.PADDLE)
    if os.path.isfile(path):
        raise ToolError(f"{path} is no folder, no bundle (.maskserve) and no archive ({', '.join(ARCHIVES)})")
    name = PIPELINE_MODEL if text == PIPELINE else text
    if catalogue.is_official(name):
        return ModelSource(name, Kind.PADDLE)
    raise ToolError(_unknown(text))


def _check_kind_of_file(path: Path) -> None:
    """Refuse what has a name that is there, but can hold no model.

    Raises:
        ToolError: it is a link that leads nowhere, a device, or made for programs that are not maskserve.
    """
    if os.path.islink(path) and not os.path.exists(path):
        raise ToolError(f"{path} is a link to {os.readlink(path)}, which is not there")
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ToolError(f"{path} is a pipe, a socket or a device, and no model")
    onnx = path / "model.onnx" if os.path.isfile(path / "segment.py") else path
    if onnx.suffix.lower() == ".onnx" and os.path.isfile(onnx):
        raise ToolError(
            f"{path} is a network for other programs: name the Paddle folder that it was made from, or what "
            "`maskserve convert FOLDER --bundle model.maskserve` writes"
        )


def _unknown(text: str) -> str:
    if text.lower() in {name.lower() for name in _OTHER_PIPELINES}:
        return f"{text} is another of PaddleX's pipelines; maskserve serves {PIPELINE}"
    if os.sep in text:
        return f"there is no {text}{_meant(_beside(Path(text)))}"
    close = catalogue.close_names(text) or _beside(Path(text))
    fix = _meant(close) or "; `maskserve models` lists PaddleX's models"
    return f"{text} is no folder and no file here, and none of PaddleX's models{fix}"


def _beside(path: Path) -> list[str]:
    """Return the paths in the same folder whose names are close."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.8)
    return [str(path.parent / name) if os.sep in str(path) else name for name in close]


def _meant(close: list[str]) -> str:
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _check_bundle(path: Path) -> None:
    from maskserve_server.bundle import Bundle

    if not os.path.exists(path):
        raise ToolError(f"there is no {path}{_meant(_beside(path))}")
    Bundle.open(path)


def _kind_of(path: Path, labels: Path | None, named: bool) -> Kind:
    from maskserve_convert.paddle.folder import PaddleFolder

    if (path / "config.pbtxt").is_file():
        return Kind.ENTRY
    if any((entry / "config.pbtxt").is_file() for entry in path.iterdir() if entry.is_dir()):
        return Kind.REPOSITORY
    PaddleFolder.open(find_model(path) or path, labels=labels, named=named)
    return Kind.PADDLE
