"""What a server says of its models: which one is meant, and what its classes are called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from maskserve.contract import PARAMETER_CLASSES, PARAMETER_LABELS
from maskserve.paddlex.config import PIPELINE_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_CLASSES = 100_000


def the_model_among(names: Sequence[str]) -> str | None:
    """Return the model that PaddleX's pipeline means: Mask-RT-DETR-S, or the only one; None where that is unclear."""
    if PIPELINE_MODEL in names:
        return PIPELINE_MODEL
    return names[0] if len(names) == 1 else None


def labels_in(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the labels in a model's configuration; classes that have none there are called by their numbers.

    None where it has no labels: it is not a model of ours.
    """
    parameters = config.get("parameters")
    labels = _parameter(parameters, PARAMETER_LABELS)
    if not isinstance(labels, list):
        return None
    classes = _parameter(parameters, PARAMETER_CLASSES)
    unnamed = range(len(labels), min(classes, _MAX_CLASSES) if isinstance(classes, int) else 0)
    return (*map(str, labels), *map(str, unnamed))


def _parameter(parameters: Any, key: str) -> Any:
    """Return the JSON in one of a configuration's parameters; None where there is none."""
    try:
        return json.loads(parameters[key]["string_value"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
