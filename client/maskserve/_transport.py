"""What a transport does: the client's view of a server, however it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskserve._wire import ImageRequest, Tensor


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as the server's repository index lists it: its state is "READY" when it answers."""

    name: str
    state: str
    reason: str = ""


class Transport(Protocol):
    """A server, however it is reached. Threads may share it; a forked process may go on using it.

    Every method raises `ServerError`s and, for what the server says of a request, `InputError`s.
    """

    @property
    def url(self) -> str:
        """Where the server is, for messages."""

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """The output tensors for one image."""

    def model_config(self, model: str) -> Mapping[str, Any]:
        """The model's configuration, as JSON has it."""

    def models(self) -> Sequence[ServedModel]:
        """The server's repository index."""

    def close(self) -> None:
        """Close the connections. The next call opens them again."""
