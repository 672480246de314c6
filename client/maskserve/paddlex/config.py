"""What a pipeline is to be: a model's name, a folder, or a pipeline file of either generation of PaddleX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import InvalidParameter
from maskserve.paddlex.model_files import (
    ModelFiles,
    archive_stem,
    as_name,
    find_model,
    is_archive,
    is_bundle,
    is_converted,
    name_of,
)

PIPELINE = "instance_segmentation"
PIPELINE_MODEL = "Mask-RT-DETR-S"
"""The model that PaddleX's pipeline of that name runs."""
_DEVICES = ("cpu", "gpu", "xpu", "npu", "mlu", "dcu", "gcu", "iluvatar_gpu", "metax_gpu")
_MODULE = "InstanceSegmentation"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a name or a pipeline file says; None where it says nothing.

    Attributes:
        model: the model's name on the server.
        folder: the Paddle inference folder of the model, or an archive of it, where one was named.
        url: the server.
        threshold: instances must score higher.
        batch_size: how many requests may be under way.
        device: what PaddleX would run the model on.
    """

    model: str
    folder: str | None = None
    url: str | None = None
    threshold: float | None = None
    batch_size: int | None = None
    device: str | None = None


def read_settings(pipeline: str | os.PathLike[str] | Mapping[str, Any]) -> Settings:
    """Return the settings behind the first argument of `create_pipeline`.

    Args:
        pipeline: a model's name; the path of a ``.yaml`` or ``.yml`` file, or its content; or a model's folder, whose
            ``inference.yml`` has the name; or an archive of one; or a converted model.

    Raises:
        InvalidParameter: it is none of these.
    """
    if isinstance(pipeline, Mapping):
        return _from_config(pipeline, "the configuration")
    if not isinstance(pipeline, str | os.PathLike) or not os.fspath(pipeline):
        raise InvalidParameter(f"pipeline={pipeline!r} is not the name of a model or the path of a pipeline file")
    text = os.fsdecode(pipeline)
    if text.lower().endswith((".yaml", ".yml")):
        return _from_config(_load(text), text)
    return Settings(_model_name(text), _as_folder(text))


def check_device(device: str) -> None:
    """Make sure that `device` is one in PaddleX's grammar: ``cpu``, ``gpu``, ``gpu:0``, ``npu:0,1``; or ``auto``.

    Raises:
        InvalidParameter: it is not.
    """
    if isinstance(device, str) and device.lower() == "auto":
        return
    kind, colon, ids = device.partition(":") if isinstance(device, str) else ("", "", "")
    fix = (
        f"it is a kind ({', '.join(_DEVICES)}) with numbers after a colon if there are several, such as gpu:0, or auto"
    )
    if kind.lower() not in _DEVICES:
        raise InvalidParameter(f"device={device!r} is no device: {fix}")
    numbers = ids.split(",") if colon else []
    if not all(number.isascii() and number.isdigit() for number in numbers) or (kind.lower() == "cpu" and numbers):
        raise InvalidParameter(f"device={device!r} has numbers that make no sense: {fix}")


def _load(path: str) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidParameter(f"the pipeline file {path} cannot be read: {error.strerror}") from None
    # PyYAML raises all of these: on `2001-99-99` and `!!bool perhaps`, for instance.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise InvalidParameter(f"the pipeline file {path} is not YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise InvalidParameter(f"the pipeline file {path} holds no settings")
    return content


def _from_config(config: Mapping[str, Any], where: str) -> Settings:
    name = config.get("pipeline_name") or _section(config, "Global", where).get("pipeline_name") or PIPELINE
    if name != PIPELINE:
        raise InvalidParameter(f"{where} is of the pipeline {name!r}; maskserve serves {PIPELINE}")
    if "SubModules" in config:
        module = _section(_section(config, "SubModules", where), _MODULE, where)
        folder, top = module.get("model_dir"), config
        model = module.get("model_name") or folder
    else:
        module = top = _section(config, "Pipeline", where)
        model, folder = module.get("model"), None
    if not isinstance(model, str) or not model:
        raise InvalidParameter(f"{where} names no model: Pipeline.model, or SubModules.{_MODULE}.model_name")
    url = top.get("url") if config.get("url") is None else config["url"]
    if url is not None and not isinstance(url, str):
        raise InvalidParameter(f"url={url!r} in {where} is not the URL of a server, such as grpc://localhost:8001")
    return Settings(
        model=_model_name(model),
        folder=str(folder) if folder else _as_folder(model),
        url=url,
        threshold=module.get("threshold"),
        batch_size=module.get("batch_size"),
        device=top.get("device"),
    )


def _section(config: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    section = config.get(key) or {}
    if not isinstance(section, Mapping):
        raise InvalidParameter(f"{where}: {key} holds no settings")
    return section


def _as_folder(text: str) -> str | None:
    """Return `text` if it is the path of a model's folder, a training's output, an archive or a converted model."""
    path = Path(text)
    return text if is_converted(path) or is_archive(path) or find_model(path) is not None else None


def _model_name(text: str) -> str:
    """Return the name of the model in a folder, or `text` itself where there is no such folder.

    It is the folder's own name where the settings have none, as `maskserve convert` names the model.
    """
    path = Path(text)
    if is_converted(path):
        return path.stem if is_bundle(path) else path.resolve().name
    folder = find_model(path)
    if folder is None:
        return archive_stem(path) if is_archive(path) else text
    file = ModelFiles.of(folder).settings
    assert file is not None  # `find_model` finds no folder without
    name = _section(_load(str(file)), "Global", str(file)).get("model_name")
    return as_name(name) if isinstance(name, str) and name else name_of(folder)
