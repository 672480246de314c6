"""Which models there are behind the gateway: those that it was told of, or all that its servers have."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from maskserve.errors import MaskserveError, ModelNotFound, ModelNotReady, RequestTimeout, listed
from maskserve.paddlex.config import PIPELINE
from maskserve.served import the_model_among
from maskserve.transport.errors import entry_points
from maskserve_gateway.errors import Refusal
from maskserve_gateway.served_model import Description, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maskserve.transport.base import ServedModel as IndexEntry
    from maskserve.transport.base import Transport
    from maskserve_gateway.served_model import ServedModel
    from maskserve_gateway.settings import Settings

_FRESH_SECONDS = 5.0
_FRESH_SECONDS_FOR_A_STRANGER = 1.0  # however many ask for models that are not there
_PATIENCE = 1.0  # for a newer list where there is one
_PATIENCE_WITHOUT = 10.0
_NAMED = 10
_GONE = ("", "unloaded")


class Catalog:
    """The models, by name. What the servers say is kept for five seconds.

    Args:
        settings: which models.
        transport: the servers.
        make: makes a model by its name.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        make: Callable[[str], ServedModel],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._make, self._clock = transport, make, clock
        self._all = settings.serves_all
        self._default = None if settings.model == PIPELINE else settings.model
        self._models = {} if self._all else {name: make(name) for name in settings.names}
        self._unready: frozenset[str] = frozenset()
        self._failure: MaskserveError | None = None
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def find(self, name: str) -> ServedModel:
        """Return the model with a name that a client gave.

        Raises:
            Refusal: there is none.
            ServerError: it cannot answer now, or the servers cannot say.
        """
        await self._freshen(stranger=name not in self._models)
        if name in self._models:
            return self._models[name]
        if name in self._unready:
            raise ModelNotReady(f"{name} at {self._transport.url} is not ready")
        if self._failure is not None:
            raise self._failure
        raise self.unknown(name)

    async def default(self) -> ServedModel:
        """Return the model of requests that name none.

        Raises:
            Refusal: there are several, and it was not said which one it is.
            ServerError: it cannot answer now, or the servers cannot say.
        """
        name = await self.default_name()
        if name is None:
            raise self._no_default()
        try:
            return await self.find(name)
        except Refusal:
            raise ModelNotFound(f"{name} is not at {self._transport.url}") from None

    async def default_name(self) -> str | None:
        """Return the name of that model; None where it was not said, and there are several. Once found it stays."""
        if self._default is None:
            await self._freshen(stranger=not self._models)
            self._default = the_model_among(sorted(self._models))
        return self._default

    async def listed(self) -> list[tuple[str, Description]]:
        """Return the models that are loaded, by name.

        Raises:
            ServerError: the servers cannot say.
        """
        await self._freshen(stranger=True)
        if self._failure is not None:
            raise self._failure
        found = ((name, model.description) for name, model in sorted(self._models.items()))
        return [(name, description) for name, description in found if description is not None]

    def unknown(self, name: str) -> Refusal:
        """Return the error for a name that no model has."""
        return Refusal(404, f"there is no model {name[:80]!a}{self._has()}")

    def gone(self, name: str) -> Refusal:
        """Return the error for a model that no server has any more; they are asked again which there are."""
        self._looked = min(self._looked, self._clock() - _FRESH_SECONDS)
        return self.unknown(name)

    def _no_default(self) -> Exception:
        if self._failure is not None:
            return self._failure
        if not self._models:
            return ModelNotFound(f"there is no model at {self._transport.url}")
        return Refusal(404, f"there are several models: ask one at /models/NAME/instance-segmentation{self._has()}")

    def _has(self) -> str:
        names = sorted(self._models)
        return f"; there is {listed(names, _NAMED)}" if names else "; there is none at all"

    async def _freshen(self, *, stranger: bool) -> None:
        """Ask the servers again, where that was too long ago. One question at a time, however many wait for it."""
        if self._clock() - self._looked < (_FRESH_SECONDS_FOR_A_STRANGER if stranger else _FRESH_SECONDS):
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        patience = _PATIENCE_WITHOUT if stranger else _PATIENCE
        _, late = await asyncio.wait({self._looking}, timeout=patience)
        if late and stranger:
            raise RequestTimeout(f"{self._transport.url} did not say in time which models there are")

    async def _look(self) -> None:
        try:
            found, unready = await asyncio.to_thread(self._ask)
        except MaskserveError as error:
            self._failure, self._looked = error, self._clock()
            return
        if self._all:
            self._models = {name: self._models.get(name) or self._make(name) for name in found}
        for name, model in self._models.items():
            if model.description not in (None, found.get(name)):  # it was replaced: other labels, perhaps
                model = self._models[name] = self._make(name)  # noqa: PLW2901
            model.description = found.get(name)
        self._unready, self._failure, self._looked = unready, None, self._clock()

    def _ask(self) -> tuple[dict[str, Description], frozenset[str]]:
        if self._all:
            return loaded_models(self._transport)
        return _described(self._models, self._transport), frozenset()


def choose_default(transport: Transport) -> str | None:
    """Return the model that is the default where nobody named one: PaddleX's, the only one, or the first by name.

    None where there is no model.

    Raises:
        ServerError: the servers cannot say which models they have.
    """
    names = sorted(loaded_models(transport)[0])
    return the_model_among(names) or next(iter(names), None)


def loaded_models(transport: Transport) -> tuple[dict[str, Description], frozenset[str]]:
    """Return the models that are loaded, and the names of those that may be so later.

    Raises:
        ServerError: the servers cannot say.
    """
    index = {entry.name: entry for entry in transport.models()}
    entries = [index[name] for name in entry_points(list(index.values()))]
    ready = [entry.name for entry in entries if entry.state == "READY"]
    later = frozenset(entry.name for entry in entries if entry.state != "READY" and not _is_gone(entry))
    return _described(ready, transport), later


def _is_gone(entry: IndexEntry) -> bool:
    return entry.state != "LOADING" and entry.reason in _GONE


def _described(names: Iterable[str], transport: Transport) -> dict[str, Description]:
    """Return what the servers say of models; those that they have not, or that are not maskserve's, are left out."""
    found = {}
    for name in list(names):
        with suppress(ModelNotFound, ModelNotReady):
            found[name] = describe(name, transport)
    return found
