"""Models for pipelines that were told of no server: the entry points of the group `maskserve.local`."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.contract import model_of
from maskserve.errors import InvalidParameter, ToolError
from maskserve.paddlex.model_files import is_converted
from maskserve_server.engine_table import AUTO
from maskserve_tools.extras import need
from maskserve_tools.model_source import Kind, ModelSource, find_source

if TYPE_CHECKING:
    from maskserve.transport.base import Transport
    from maskserve_tools.embedded import Server

_ATTEMPTS = 3  # to open a model that is being converted
_MOMENT = 0.1  # seconds
_log = logging.getLogger("maskserve")


@dataclass(frozen=True, slots=True)
class LocalServer:
    """An embedded server with one model.

    Attributes:
        server: it.
        model: the model's name.
    """

    server: Server
    model: str

    @property
    def url(self) -> str:
        """Where it is."""
        return self.server.grpc_url

    def stop(self) -> None:
        """Stop it, unless this is a forked child of the process that started it. A second call does nothing."""
        self.server.stop()


def start(model: str, *, device: str | None = None, labels: str | None = None) -> LocalServer:
    """Serve a model on free ports of the loopback interface, converted first unless that has been done.

    Args:
        model: as for `open_here`.
        device: what to run it on, in PaddleX's grammar; None is the CPU.
        labels: a file with the names of the classes, instead of those in a folder's settings.

    Raises:
        InvalidParameter: there is no engine for `device`.
        ToolError: the model cannot be fetched, converted or served.
    """
    from maskserve_tools.embedded import serve
    from maskserve_tools.embedded.conversion_cache import unbundled
    from maskserve_tools.embedded.triton_wheel import find_triton_wheel

    engine = engine_for(device)
    source = _single(model, labels)
    need("a server with this model", "embedded", *(("convert",) if source.kind is Kind.PADDLE else ()))
    find_triton_wheel()  # before minutes are spent on downloading and converting
    models = None
    if source.kind is Kind.ENTRY:
        entry = source.path.resolve()
        repository, models = entry.parent, (entry.name,)
    elif source.kind is Kind.BUNDLE:
        repository = unbundled(source.path, report=_log.warning)
    else:
        repository = _converted(model, engine, labels)
    _log.warning("starting an embedded tritonserver with %s (url= or MASKSERVE_URL names one that runs)", model)
    server = serve(repository, models=models)
    return LocalServer(server, *server.models)


def open_here(
    model: str, *, device: str | None = None, timeout: float = 60.0, labels: str | None = None
) -> tuple[str, Transport]:
    """Load a model into this process, converted first unless that has been done.

    Args:
        model: a bundle, an entry of a model repository, a Paddle inference folder, an archive of one, or the name of an
            official model, which is fetched.
        device: what to run it on, in PaddleX's grammar; None is the CPU.
        timeout: seconds that a request may take.
        labels: a file with the names of the classes, instead of those in a folder's settings.

    Returns:
        The model's name and the transport to it.

    Raises:
        InvalidParameter: there is no engine for `device`.
        ToolError: the model cannot be fetched, converted or loaded.
    """
    source = _single(model, labels)
    need("this model", "local", *(("convert",) if source.kind is Kind.PADDLE else ()))

    from maskserve_local.devices import find_place
    from maskserve_local.sources import open_source
    from maskserve_local.transport import InProcessTransport
    from maskserve_server.one_conversion import NotOfOneConversion

    place = find_place(device)

    path = Path(model)
    if not is_converted(path):
        repository = _converted(model, place.engine or AUTO, labels)
        (path,) = (entry.parent for entry in repository.glob("*/config.pbtxt"))
    for attempt in range(_ATTEMPTS):
        try:
            opened = open_source(path, place)
            return opened.spec.name, InProcessTransport(opened, timeout=timeout)
        except NotOfOneConversion:  # a conversion has replaced it meanwhile, and is through in a moment
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_MOMENT)
    raise AssertionError("the last attempt returns or raises")


def _single(model: str, labels: str | None) -> ModelSource:
    """Return what `model` names, if it is one model.

    Raises:
        ToolError: it is nothing, or a repository, of which an entry has to be named.
    """
    source = find_source(model, labels=labels)
    if source.kind is Kind.REPOSITORY:
        entries = sorted(path.parent for path in source.path.glob("*/config.pbtxt"))
        models = [str(entry) for entry in entries if model_of(entry.name) is None]
        raise ToolError(f"{model} is a repository, which may hold several models: name one of {', '.join(models)}")
    return source


def _converted(model: str, engine: str, labels: str | None) -> Path:
    """Return the repository with just this model, which is fetched and converted where that has not been done."""
    from maskserve_convert.paddle.folder import PaddleFolder
    from maskserve_tools.embedded.conversion_cache import converted
    from maskserve_tools.models.fetching import fetch, source_folder

    path = source_folder(model, report=_log.warning)
    folder = PaddleFolder.open(
        path if path.is_dir() else fetch(model, report=_log.warning), labels=None if labels is None else Path(labels)
    )
    return converted(folder, engine=engine, report=_log.warning)


def engine_for(device: str | None) -> str:
    """Return the engine with which an embedded server runs models on `device`.

    Raises:
        InvalidParameter: there is none. Nothing is ever run on the CPU instead of what was asked for.
    """
    if device is None or device.lower() == "cpu":
        return AUTO
    raise InvalidParameter(
        f"device={device!r}: the server that maskserve starts on this machine runs models on the CPU only."
        " Take device='cpu', run the model in this process (server=False), or name a server with another device with "
        "url= or MASKSERVE_URL"
    )
