"""What a transport does: the client's view of a server, however it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskserve.transport.wire import ImageRequest, Tensor


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as the server's repository index lists it: its state is "READY" when it answers."""

    name: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What a server says of itself.

    Attributes:
        name: the name that it was given, "triton" unless somebody chose another.
        version: of Triton, such as "2.51.0".
        ready: whether it calls itself ready; by Triton's own setting that may need every model to be loaded.
    """

    name: str
    version: str
    ready: bool


class Transport(Protocol):
    """A server, however it is reached. Threads may share it; a forked process may go on using it.

    Every method raises `ServerError`s and, for what the server says of a request, `InputError`s.
    """

    @property
    def url(self) -> str:
        """Where the server is, for messages."""

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """Return the output tensors for one image."""

    def model_config(self, model: str) -> Mapping[str, Any]:
        """Return the model's configuration, as JSON has it."""

    def status(self) -> ServerStatus:
        """Return what the server says of itself."""

    def models(self) -> Sequence[ServedModel]:
        """Return the server's repository index."""

    def close(self) -> None:
        """Close the connections. The next call opens them again."""
