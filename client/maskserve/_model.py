"""A model on a server: which one it is, what its classes are called."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from maskserve._failures import entry_points
from maskserve.contract import PARAMETER_LABELS
from maskserve.errors import InferenceFailed, InvalidParameter, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskserve._transport import Transport

PIPELINE = "instance_segmentation"
PIPELINE_MODEL = "Mask-RT-DETR-S"  # what PaddleX's pipeline of that name runs


class Model:
    """The model that a pipeline calls. Nothing is asked of the server before it has to be, and nothing twice.

    There are no locks, which a fork could leave locked: threads that come at the same time ask the same.

    Args:
        name: its name, or "instance_segmentation" for the server's: Mask-RT-DETR-S, or the only one that it has.
        transport: the server.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self._wanted = name
        self._transport = transport
        self._name: str | None = None if name == PIPELINE else name
        self._labels: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Its name on the server.

        Raises:
            ServerError: the server has to be asked, and cannot say.
        """
        if self._name is None:
            self._name = _choose(self._transport)
        return self._name

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, by class index.

        Raises:
            ServerError: the server cannot say.
        """
        if self._labels is None:
            self._labels = _read_labels(self._transport, self.name)
        return self._labels

    def class_ids(self, class_ids: Iterable[int] | None, labels: Iterable[str] | None) -> tuple[int, ...] | None:
        """The classes that a filter asks for, as the server wants them; None for all.

        Raises:
            InvalidParameter: there is no such class.
        """
        if class_ids is None and labels is None:
            return None
        chosen = {_class_id(value) for value in class_ids or ()}
        if labels is not None:
            known = {label: index for index, label in enumerate(self.labels)}
            chosen.update(_lookup(label, known) for label in ([labels] if isinstance(labels, str) else labels))
        return tuple(sorted(chosen))


def _class_id(value: object) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InvalidParameter(f"a class id is an integer, not {value!r}; class names go into labels=")
    number = int(value.__index__())
    if not 0 <= number < 2**31:
        raise InvalidParameter(f"there is no class {number}")
    return number


def _lookup(label: str, known: dict[str, int]) -> int:
    if label not in known:
        close = difflib.get_close_matches(str(label), known, n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise InvalidParameter(f"the model has no class {label!r}{hint}")
    return known[label]


def _choose(transport: Transport) -> str:
    names = entry_points(transport.models())
    if PIPELINE_MODEL in names or len(names) == 1:
        return PIPELINE_MODEL if PIPELINE_MODEL in names else names[0]
    has = f"it has {', '.join(names)}; name one of them" if names else "it has none"
    raise ModelNotFound(f"{PIPELINE!r} could be any model of the server at {transport.url}: {has}")


def _read_labels(transport: Transport, name: str) -> tuple[str, ...]:
    config = transport.model_config(name)
    try:
        labels = json.loads(config["parameters"][PARAMETER_LABELS]["string_value"])
    except (KeyError, TypeError, ValueError):
        labels = None
    if not isinstance(labels, list):
        mend = "convert it with `maskserve convert`"
        raise InferenceFailed(f"{name} at {transport.url} does not say what its classes are called; {mend}")
    return tuple(map(str, labels))
