"""A model on a server: which one it is, what its classes are called."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from maskserve.arguments import checked_class_ids, checked_labels
from maskserve.errors import InferenceFailed, InvalidParameter, ModelNotFound, listed
from maskserve.paddlex.config import PIPELINE
from maskserve.served import labels_in, the_model_among
from maskserve.transport.errors import entry_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maskserve.transport.base import Transport

_NAMED = 10  # models of a server, in a message


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

    def class_ids(
        self, class_ids: int | Iterable[int] | None, labels: str | Iterable[str] | None
    ) -> tuple[int, ...] | None:
        """Return the classes that a filter asks for, in the form that the server reads; None for all.

        Raises:
            InvalidParameter: there is no such class.
        """
        if class_ids is None and labels is None:
            return None
        chosen = set(() if class_ids is None else checked_class_ids(class_ids))
        for label in () if labels is None else checked_labels(labels):
            chosen.update(_lookup(label, self.labels))
        return tuple(sorted(chosen))


def _lookup(label: str, known: Sequence[str]) -> list[int]:
    """Return the classes of that name, of which a model may have several."""
    found = [index for index, name in enumerate(known) if name == label]
    if not found:
        close = difflib.get_close_matches(label, known, n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise InvalidParameter(f"the model has no class {label!r}{hint}")
    return found


def _choose(transport: Transport) -> str:
    names = entry_points(transport.models())
    chosen = the_model_among(names)
    if chosen is not None:
        return chosen
    has = f"it has {listed(names, _NAMED)}; name one of them" if names else "it has none"
    raise ModelNotFound(f"{PIPELINE!r} could be any model of the server at {transport.url}: {has}")


def _read_labels(transport: Transport, name: str) -> tuple[str, ...]:
    labels = labels_in(transport.model_config(name))
    if labels is None:
        fix = "convert it with `maskserve convert`"
        raise InferenceFailed(f"{name} at {transport.url} does not say what its classes are called; {fix}")
    return labels
