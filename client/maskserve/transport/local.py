"""The model of a pipeline that was told of no server: in this process, or on a server on this machine."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from maskserve._model import Model
from maskserve.errors import ServerError, ServerUnavailable, ToolError
from maskserve.paddlex.config import PIPELINE, PIPELINE_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maskserve.paddlex.config import Settings
    from maskserve.transport.base import ServedModel, ServerStatus, Transport
    from maskserve.transport.wire import ImageRequest, Tensor

DEFAULT_URL = "grpc://localhost:8001"
ENTRY_POINTS = "maskserve.local"
_LOOK = 5.0
_log = logging.getLogger("maskserve")


class LocalServer(Protocol):
    """A server that was started for one pipeline."""

    @property
    def url(self) -> str:
        """Where it is."""

    @property
    def model(self) -> str:
        """The name that it has for the model."""

    def stop(self) -> None:
        """Stop it, unless this is another process than the one that started it. A second call does nothing."""


class Starter(Protocol):
    """What the entry point "server" in the group "maskserve.local" is: it starts servers."""

    def __call__(self, model: str, *, device: str | None, labels: str | None) -> LocalServer:
        """Start a server with the model of a Paddle inference folder, or the official one of a name.

        Raises:
            ToolError: it cannot be started.
            InvalidParameter: the model cannot be run on `device`.
        """


class Opener(Protocol):
    """What the entry point "process" in the group "maskserve.local" is: it loads models into this process."""

    def __call__(self, model: str, *, device: str | None, timeout: float, labels: str | None) -> tuple[str, Transport]:
        """Load a bundle, an entry of a repository, a Paddle inference folder, or the official model of a name.

        Returns:
            The model's name and the transport to it.

        Raises:
            ToolError: it cannot be loaded.
            InvalidParameter: the model cannot be run on `device`.
        """


class LocalTransport:
    """The way to a server that was started for it, and that is stopped when the way is closed, or not used any more.

    Args:
        transport: the way.
        server: the server.
    """

    def __init__(self, transport: Transport, server: LocalServer) -> None:
        self._transport = transport
        self._stop = weakref.finalize(self, server.stop)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._transport.url

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """Return the output tensors for one image."""
        return self._open().infer(model, request)

    def model_config(self, model: str) -> Mapping[str, Any]:
        """Return the model's configuration."""
        return self._open().model_config(model)

    def status(self) -> ServerStatus:
        """Return what the server says of itself."""
        return self._open().status()

    def models(self) -> Sequence[ServedModel]:
        """Return the server's repository index."""
        return self._open().models()

    def close(self) -> None:
        """Close the connections and stop the server."""
        self._transport.close()
        self._stop()

    def _open(self) -> Transport:
        if not self._stop.alive:
            raise ServerUnavailable(
                "the pipeline was closed, and with it the server that had been started for it: make another pipeline"
            )
        return self._transport


def find_model_here(
    settings: Settings,
    device: str | None,
    connect: Callable[..., Transport],
    *,
    server: bool | None,
    timeout: float,
    labels: str | None = None,
) -> tuple[str, Transport]:
    """Find the model of a pipeline that was told of no server.

    A name is looked for at the usual address first, unless it is to be loaded into this process. A server there may
    have any model under that name, so the one that is taken is said. A folder means just that folder, and what a server
    has under the folder's name may be another model.

    Args:
        settings: the pipeline.
        device: what to run the model on.
        connect: makes the transport to a URL; a second argument limits the seconds that a request may take.
        server: True starts a server where none is found, False looks for none; None takes one that is found, and else
            loads the model into this process.
        timeout: seconds that a request may take.
        labels: a file with the names of the classes, for a folder.

    Returns:
        The model's name and the transport to it.

    Raises:
        ServerUnavailable: there is no server, and the model can neither be loaded nor be served here.
        InvalidParameter: the model cannot be run on `device`.
    """
    looks = settings.folder is None and server is not False
    if looks and (found := _served_name(connect(DEFAULT_URL, _LOOK), settings.model)) is not None:
        _log.warning(
            "the server at %s has a model %s and answers for it: name that server with url= or MASKSERVE_URL, or run "
            "the model in this process with server=False or MASKSERVE_LOCAL=process",
            DEFAULT_URL,
            found,
        )
        return settings.model, connect(DEFAULT_URL)
    elsewhere = "" if not looks else f"no server at {DEFAULT_URL} has {settings.model}, and "
    model = settings.folder or (PIPELINE_MODEL if settings.model == PIPELINE else settings.model)
    try:
        if not server:
            return find_opener()(model, device=device, timeout=timeout, labels=labels)
        started = find_starter()(model, device=device, labels=labels)
    except ToolError as error:
        what = "none can be started here" if server else "it cannot run in this process"
        why = error.message if error.message.endswith("?") else f"{error.message}."
        raise ServerUnavailable(f"{elsewhere}{what}: {why} Or name a server with url= or MASKSERVE_URL") from error
    return started.model, LocalTransport(connect(started.url), started)


def find_starter() -> Starter:
    """Return what starts servers here.

    Raises:
        ToolError: nothing that is installed does.
    """
    starter: Starter = _entry_point("server", "embedded,convert")
    return starter


def find_opener() -> Opener:
    """Return what loads models into this process.

    Raises:
        ToolError: nothing that is installed does.
    """
    opener: Opener = _entry_point("process", "local")
    return opener


def _entry_point(name: str, extra: str) -> Any:
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINTS, name=name):
        return entry_point.load()
    raise ToolError(f'that needs more of maskserve: pip install "maskserve[{extra}]"')


def _served_name(transport: Transport, model: str) -> str | None:
    """Return what a server calls a model; None where it is not there, or has none of that name that is ours."""
    there = Model(model, transport)
    try:
        return there.name if there.labels is not None else None
    except ServerError:
        return None
    finally:
        transport.close()
