"""Large images handed to a server on the same machine in shared memory, instead of being sent to it.

Every request has a region of its own: it is written, the server maps it, its name is removed, and only then is the
server asked. So no request overwrites what the server may still read for another, a forked process has nothing to
inherit, and there is nothing to clean up but the server's mapping, which ends with the request. A process that is
killed in the milliseconds in which the name exists leaves it in /dev/shm; one that is killed while requests are under
way leaves their mappings to the server, until that ends. So does one that is closed and ends while Triton 24.09 or
24.10 goes on reading for longer than `_PAUSES`.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections import deque
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from maskserve.errors import RequestTimeout, ServerError, ServerUnavailable
from maskserve.transport.base import Transport
from maskserve.transport.errors import RegionRefused
from maskserve.transport.fork import fork_gate
from maskserve.transport.wire import BYTES_LENGTH, Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maskserve.transport.base import ServedModel, ServerStatus
    from maskserve.transport.wire import ImageRequest, Tensor

FOLDER = Path("/dev/shm")  # where Linux keeps POSIX shared memory
# Triton 24.09, the first that refuses to unmap what a request is still reading, instead of crashing over it.
_COUNTS_READERS = (2, 50)
# Seconds between attempts to unmap while a request that was given up is still reading; later releases than 24.10 say
# yes at once and unmap when it has ended.
_PAUSES = (0.0, 0.02, 0.1, 0.5, 1.0)
_log = logging.getLogger("maskserve")


class RegionTransport(Transport, Protocol):
    """A transport that can name a region instead of sending an image."""

    def infer(self, model: str, request: ImageRequest, region: Region | None = None) -> Sequence[Tensor]:
        """Return the output tensors for one image, which is in `region` if there is one."""

    def server_version(self) -> str:
        """Return Triton's version, such as "2.51.0"."""

    def register(self, region: Region) -> None:
        """Let the server map a region."""

    def unregister(self, region: Region) -> None:
        """Let the server unmap a region; one that it does not know is no error."""


class SharedMemoryTransport:
    """A transport that passes large images in shared memory, as long as the server accepts that.

    A server in a container or behind a tunnel cannot; one may also be configured not to. It is asked once, then the
    images are sent, until the transport is closed.

    Args:
        transport: the way to the server.
        smallest: bytes from which on it pays; below, sending costs less than the two calls around a region.
        reopen: gives another transport to the same server. A request that failed is cleaned up after over a connection
            of its own, lest a transport that was closed meanwhile is opened again.
    """

    def __init__(self, transport: RegionTransport, smallest: int, reopen: Callable[[], RegionTransport]) -> None:
        self._transport = transport
        self._smallest = smallest
        self._reopen = reopen
        self._accepted: bool | None = None
        self._left: deque[Region] = deque()  # those that the server was still reading

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._transport.url

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """Return the output tensors for one image."""
        if self._accepted is False or len(request.image) < self._smallest:
            return self._transport.infer(model, request)
        try:
            with self._shared(request.image) as region:
                return self._transport.infer(model, request, region)
        except RegionRefused as error:
            reason = error.message
        answer = self._transport.infer(model, request)
        self._accepted = False  # not before there is an answer: a server that is not there has not refused
        _log.debug("Images are sent to %s, not shared in memory: %s", self.url, reason)
        return answer

    def model_config(self, model: str) -> Mapping[str, Any]:
        """Return the model's configuration."""
        return self._transport.model_config(model)

    def status(self) -> ServerStatus:
        """Return what the server says of itself."""
        return self._transport.status()

    def models(self) -> Sequence[ServedModel]:
        """Return the server's repository index."""
        return self._transport.models()

    def close(self) -> None:
        """Close the connections; calls under way end with `ServerUnavailable`."""
        self._accepted = None
        self._transport.close()
        if self._left:
            with closing(self._reopen()) as own:
                for _ in range(len(self._left)):
                    if not self._take_back_one_left(own):
                        break

    @contextmanager
    def _shared(self, image: bytes) -> Iterator[Region]:
        """Yield a region with `image` in it that the server has mapped.

        Raises:
            RegionRefused: it cannot be had.
            RequestTimeout: the server does not answer.
        """
        self._ask_version()
        region = Region(f"maskserve-image-{os.getpid()}-{secrets.token_hex(16)}", BYTES_LENGTH.size + len(image))
        try:
            self._hand_over(region, image)
            yield region
        except BaseException:
            with closing(self._reopen()) as own:
                self._take_back(region, own)
            raise
        self._take_back(region, self._transport)
        self._take_back_one_left(self._transport)

    def _ask_version(self) -> None:
        if self._accepted is None:
            try:
                version = self._transport.server_version()
            except ServerError as error:
                raise RegionRefused(error.message) from error
            if not _counts_readers(version):
                raise RegionRefused(f"its version is {version}")
            self._accepted = True

    def _hand_over(self, region: Region, image: bytes) -> None:
        try:
            with fork_gate.request():  # a child would keep the open file, and with it the memory
                _write(region, image)
            self._transport.register(region)
        except RequestTimeout:
            raise
        except (OSError, ServerError) as error:
            raise RegionRefused(str(error)) from error
        finally:
            with suppress(OSError):
                (FOLDER / region.name).unlink()

    def _take_back(self, region: Region, transport: RegionTransport, pauses: Sequence[float] = _PAUSES) -> bool:
        """Let the server unmap a region, now or some time later; whether the server answers."""
        for pause in pauses:
            time.sleep(pause)
            try:
                transport.unregister(region)
            except (ServerUnavailable, RequestTimeout):
                self._left.append(region)
                return False
            except ServerError:  # a request that timed out is still reading it
                continue
            return True
        self._left.append(region)
        return True

    def _take_back_one_left(self, transport: RegionTransport) -> bool:
        try:
            region = self._left.popleft()
        except IndexError:  # there is none, or another thread has just taken it
            return True
        return self._take_back(region, transport, (0.0,))


def _counts_readers(version: str) -> bool:
    match = re.match(r"(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) >= _COUNTS_READERS


def _write(region: Region, image: bytes) -> None:
    # written as a file, not mapped: where memory is short, a write fails, and a mapping would kill the process
    descriptor = os.open(FOLDER / region.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with open(descriptor, "wb") as file:
        file.write(BYTES_LENGTH.pack(len(image)))
        file.write(image)
