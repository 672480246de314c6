"""What a pipeline is to be: a model's name, a folder, or a pipeline file of either generation of PaddleX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve._model import PIPELINE
from maskserve.errors import InvalidParameter

_DEVICES = ("cpu", "gpu", "xpu", "npu", "mlu", "dcu", "gcu", "iluvatar_gpu", "metax_gpu")
_MODULE = "InstanceSegmentation"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a name or a pipeline file says; None where it says nothing.

    Attributes:
        model: the model's name on the server.
        folder: the Paddle inference folder of the model, where one was named.
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
    """The settings behind the first argument of `create_pipeline`.

    Args:
        pipeline: a model's name; the path of a ``.yaml`` or ``.yml`` file, or its content; or a model's folder, whose
            ``inference.yml`` has the name.

    Raises:
        InvalidParameter: it is none of these.
    """
    if isinstance(pipeline, Mapping):
        return _from_config(pipeline, "the configuration")
    if not isinstance(pipeline, str | os.PathLike) or not os.fspath(pipeline):
        raise InvalidParameter(f"pipeline={pipeline!r} is not the name of a model or the path of a pipeline file")
    text = os.fspath(pipeline)
    if text.lower().endswith((".yaml", ".yml")):
        return _from_config(_load(text), text)
    return Settings(_model_name(text), _as_folder(text))


def check_device(device: str) -> None:
    """Make sure that `device` is one in PaddleX's grammar: ``cpu``, ``gpu``, ``gpu:0``, ``npu:0,1``.

    Raises:
        InvalidParameter: it is not.
    """
    kind, colon, ids = device.partition(":") if isinstance(device, str) else ("", "", "")
    mend = f"it is a kind ({', '.join(_DEVICES)}) with numbers after a colon where there are several, such as gpu:0"
    if kind.lower() not in _DEVICES:
        raise InvalidParameter(f"device={device!r} is no device: {mend}")
    numbers = ids.split(",") if colon else []
    if not all(number.isascii() and number.isdigit() for number in numbers) or (kind.lower() == "cpu" and numbers):
        raise InvalidParameter(f"device={device!r} has numbers that make no sense: {mend}")


def _load(path: str) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidParameter(f"the pipeline file {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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
    return Settings(
        model=_model_name(model),
        folder=str(folder) if folder else _as_folder(model),
        url=config.get("url") or top.get("url"),
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
    """`text` where it is the path of a model's folder."""
    return text if (Path(text) / "inference.yml").is_file() else None


def _model_name(text: str) -> str:
    """The name of the model in a folder, or `text` itself where there is no such folder."""
    if _as_folder(text) is None:
        return text
    file = Path(text) / "inference.yml"
    name = _section(_load(str(file)), "Global", str(file)).get("model_name")
    if not isinstance(name, str):
        raise InvalidParameter(f"{file} has no Global.model_name; give the name that the server has for the model")
    return name
