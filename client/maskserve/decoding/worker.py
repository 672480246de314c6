"""A decoder's process: decodes one image file after another, until its parent is gone.

Started with a clean interpreter by `decoder_process`; what it may take is limited before it sees a file.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskserve.decoding.decode import decode
from maskserve.decoding.limits import Limits
from maskserve.decoding.messages import ORDER, PACKET_BYTES, PIXELS, READY, REFUSED, SIZE, TAKEN
from maskserve.decoding.moving import move
from maskserve.decoding.pixel_memory import KEPT_BYTES, WrittenPixels
from maskserve.errors import ImageTooLarge, InvalidImage, MaskserveError, to_wire
from maskserve.inputs.decoding import NO_MEMORY
from maskserve.inputs.formats import format_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_NAME = b"maskserve-image"
_COPIES = 3  # of a file: as it came, as a decoder is to see it, and what that keeps
_BESIDE = 16 << 20  # bytes of the last image's pixels that may stay while a format is decoded that cannot use them
_LARGE = 32 << 20  # bytes of a file or of pixels after which the allocator is asked to give back what it holds


def main(connection: int, file: int, parent: int, seconds: float, memory: int) -> None:
    """Decode what the parent sends.

    Args:
        connection: descriptor of the socket to the parent.
        file: descriptor of the memory in which the parent leaves a file.
        parent: its process id.
        seconds: of processor time for one image; the kernel ends this process after that.
        memory: bytes that this process may take on top of what it has when its decoders are loaded.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, _NAME)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be watched
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    _load_decoders()
    room = _limit() + memory
    written = WrittenPixels()
    with socket.socket(fileno=connection) as parent_socket, suppress(ConnectionError):
        parent_socket.send(READY)
        while order := parent_socket.recv(PACKET_BYTES):
            length, max_bytes, max_pixels, *least = ORDER.unpack(order)
            limit = room + _COPIES * length
            _lower(resource.RLIMIT_DATA, limit)
            content = os.pread(file, length, 0)
            parent_socket.send(TAKEN)
            if written.size > _BESIDE and format_of(content) != "JPEG":
                written.drop()
            _lower(resource.RLIMIT_DATA, limit - written.size)
            limits, enough = Limits(max_bytes, max_pixels), (least[0], least[1]) if all(least) else None
            _answer(parent_socket, content, limits, written, seconds=seconds, memory=limit, least=enough)
            del content
            if max(written.size, length) > _LARGE:
                libc.malloc_trim(0)
            if written.size > KEPT_BYTES:
                written.drop()


def _load_decoders() -> None:
    """Load what is loaded at the first image of a format, before the memory is limited."""
    import cv2
    from PIL import Image

    cv2.setNumThreads(1)
    Image.MAX_IMAGE_PIXELS = None  # the limits are checked on the header, and say more than Pillow's own
    Image.preinit()
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
        decode(bytes(cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))[1]))


def _limit() -> int:
    """Set limits on what this process needs little of, and return the bytes of memory that it has taken so far."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, 64)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))


def _lower(kind: int, limit: int) -> None:
    _, allowed = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if allowed == resource.RLIM_INFINITY else min(limit, allowed), allowed))


def _answer(
    parent: socket.socket,
    content: bytes,
    limits: Limits,
    written: WrittenPixels,
    *,
    seconds: float,
    memory: int,
    least: tuple[int, int] | None,
) -> None:
    def allocate(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        pixels = written.allocate(shape)  # which the kernel does not count, so that the decoder gets less
        _lower(resource.RLIMIT_DATA, memory - written.size)
        return pixels

    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            pixels = _written(decode(content, limits, allocate, least), written)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except Exception as error:
        parent.send(REFUSED + to_wire(_refusal(error)).encode("utf-8", "replace")[: PACKET_BYTES - 1])
    else:
        message = PIXELS + SIZE.pack(*pixels.shape[:2])
        socket.send_fds(parent, [message], [written.descriptor] if written.new else [])
        written.new = False


def _written(pixels: NDArray[np.uint8], written: WrittenPixels) -> NDArray[np.uint8]:
    if written.holds(pixels):
        return pixels
    height, width, channels = pixels.shape
    memory = written.allocate((height, width, channels))
    move(pixels, memory)
    return memory


def _refusal(error: Exception) -> MaskserveError:
    if isinstance(error, MaskserveError):
        return error
    if isinstance(error, MemoryError):
        return ImageTooLarge(NO_MEMORY)
    traceback.print_exception(error)  # an error of ours: the log has the rest
    return InvalidImage(f"the image cannot be decoded ({type(error).__name__})")
