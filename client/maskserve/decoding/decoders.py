"""Where image files are decoded: in processes of their own, or in this one."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from maskserve.decoding.decode import decode, plain_pixels
from maskserve.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from maskserve.decoding.limits import Limits

VARIABLE = "MASKSERVE_DECODERS"
_AT_WORK_AND_READY = 2


class Decoder(Protocol):
    """Decodes image files."""

    def lend(self, content: bytes, least: tuple[int, int] | None = None) -> AbstractContextManager[NDArray[np.uint8]]:
        """Decode a file, and lend its pixels, uint8 [height, width, 3] BGR, until the context ends.

        Args:
            content: the file.
            least: the height and width that are enough, see `maskserve.decoding.decode`; None for all pixels.
        """

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Return the pixels of a file."""

    def close(self) -> None:
        """End what it has started."""


class OwnProcess:
    """Decodes in this process, which a hostile file may end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    @contextmanager
    def lend(self, content: bytes, least: tuple[int, int] | None = None) -> Iterator[NDArray[np.uint8]]:
        """See `Decoder`."""
        plain = plain_pixels(content, self._limits)
        yield decode(content, self._limits, least=least) if plain is None else plain

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """See `Decoder`."""
        return decode(content, self._limits)

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


class OpenedLate:
    """Opens a decoder when the first image comes: for programs that may never see one.

    Args:
        limits: see `open_decoder`.
        size: likewise.
    """

    def __init__(self, limits: Limits, size: int) -> None:
        self._limits, self._size = limits, size
        self._lock = threading.Lock()
        self._opened: Decoder | None = None

    def lend(self, content: bytes, least: tuple[int, int] | None = None) -> AbstractContextManager[NDArray[np.uint8]]:
        """See `Decoder`."""
        return self._open().lend(content, least)

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """See `Decoder`."""
        return self._open().decode(content)

    def close(self) -> None:
        """See `Decoder`."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _open(self) -> Decoder:
        with self._lock:
            self._opened = self._opened or open_decoder(self._limits, size=self._size)
            return self._opened


def open_decoder(
    limits: Limits, *, size: int = _AT_WORK_AND_READY, environment: Mapping[str, str] = os.environ
) -> Decoder:
    """Open what decodes strangers' files.

    Args:
        limits: for the files and for the processes.
        size: how many processes, unless the variable MASKSERVE_DECODERS says otherwise; 0 decodes in this process.
        environment: where the variable is.

    Raises:
        ToolError: no process can be started, or the variable is no number.
    """
    wanted = environment.get(VARIABLE, "").strip()
    if wanted and not wanted.isdecimal():
        raise ToolError(f"{VARIABLE} is a number of processes, 0 for none, not {wanted!r}")
    size = int(wanted) if wanted else size
    if size == 0 or not hasattr(os, "memfd_create"):  # which only Linux has
        return OwnProcess(limits)
    from maskserve.decoding.pool import DecoderPool

    return DecoderPool(limits, size)
