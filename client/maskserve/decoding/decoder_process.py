"""One decoder's process, seen by its parent: a file goes in, pixels or an error come out, or it is over."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.decoding import interpreter
from maskserve.decoding.messages import ORDER, PACKET_BYTES, PIXELS, READY, REFUSED, SIZE, TAKEN
from maskserve.decoding.pixel_memory import KEPT_BYTES, read_pixels
from maskserve.errors import InvalidImage, from_wire

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from maskserve.decoding.limits import Limits

START_SECONDS = 60.0
_LOOK_SECONDS = 0.5  # how often a process that takes long is looked at
# The kernel ends a process after its processor time. It is given more of the clock's, since other processes may keep it
# from running; not so if it sleeps, where there is nothing to wait for.
_ASLEEP, _RUNNING = 2.0, 24.0
_STOPPED = frozenset("Tt")
_NONSENSE = "the decoder does not keep to the protocol"


class Unused(Exception):
    """The process was gone before it had the file, which cannot be the cause."""


class Gone(Exception):
    """The process died or fell silent over the file."""


class DecoderProcess:
    """A process that decodes one file at a time.

    Args:
        limits: for the files, and for the process.

    Raises:
        ToolError: there is no interpreter for it.
        OSError: it cannot be started.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._file = os.memfd_create("maskserve-file", os.MFD_CLOEXEC)
        self._file_size = 0
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._memory: NDArray[np.uint8] | None = None
        try:
            with theirs:
                self._process = self._start(theirs.fileno())
        except BaseException:
            self._close()
            raise

    def _start(self, connection: int) -> subprocess.Popen[bytes]:
        given = (connection, self._file)
        return subprocess.Popen(
            interpreter.command(*given, os.getpid(), self._limits.decode_seconds, self._limits.decode_bytes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=interpreter.environment(),
            cwd="/",
            pass_fds=given,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until it has started.

        Raises:
            Gone: it has not.
        """
        if self._receive(START_SECONDS)[0] != READY:
            raise Gone(_NONSENSE)

    @property
    def usable(self) -> bool:
        """Whether it has not died while nobody asked it for anything."""
        return not self._poll.poll(0)

    def decode(self, content: bytes, least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Decode a file.

        Args:
            content: the file.
            least: the height and width that are enough, see `maskserve.decoding.decode`; None for all pixels.

        Returns:
            uint8 [height, width, 3] BGR, which the next call overwrites.

        Raises:
            InputError: see `maskserve.decoding.decode`.
            Unused: the process was gone before it had the file.
            Gone: it died over the file, or took too long.
        """
        try:
            self._hand_over(content, least or (0, 0))
            if self._receive(self._limits.decode_seconds)[0] != TAKEN:
                raise Gone(_NONSENSE)
        except (OSError, Gone) as error:
            raise Unused(str(error)) from None
        message, descriptor = self._receive(self._limits.decode_seconds)
        return self._pixels(message, descriptor)

    def end(self) -> None:
        """End the process, and give back what is shared with it."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        self._memory = None
        self._socket.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _hand_over(self, content: bytes, least: tuple[int, int]) -> None:
        view = memoryview(content)
        while view.nbytes:
            view = view[os.pwrite(self._file, view, len(content) - view.nbytes) :]
        self._file_size = max(self._file_size, len(content))
        self._socket.send(ORDER.pack(len(content), self._limits.max_bytes, self._limits.max_pixels, *least))

    def _pixels(self, message: bytes, descriptor: int | None) -> NDArray[np.uint8]:
        if self._file_size > KEPT_BYTES:
            os.ftruncate(self._file, 0)
            self._file_size = 0
        kind, body = message[:1], message[1:]
        if kind == REFUSED:
            text = body.decode("utf-8", "replace")
            raise from_wire(text) or InvalidImage(f"the image cannot be decoded: {text}")
        if kind != PIXELS or len(body) != SIZE.size:
            raise Gone(_NONSENSE)
        height, width = SIZE.unpack(body)
        memory = self._memory
        if descriptor is not None:
            try:
                memory = read_pixels(descriptor)
            except (ValueError, OSError) as error:
                raise Gone(str(error)) from None
            self._memory = memory if memory.size <= KEPT_BYTES else None
        if memory is None or not 0 < 3 * height * width <= memory.size:
            raise Gone("it sent fewer pixels than it says")
        return memory[: 3 * height * width].reshape(height, width, 3)

    def _receive(self, seconds: float) -> tuple[bytes, int | None]:
        """Return the next packet and the descriptor that came with it.

        Raises:
            Gone: there is none; the process does not run any more.
        """
        begun = time.monotonic()
        while not self._poll.poll(1000 * _LOOK_SECONDS):
            passed = time.monotonic() - begun
            state = self._state()
            if state in _STOPPED:
                raise Gone("the decoder was stopped")
            if passed > seconds * (_ASLEEP if state == "S" else _RUNNING) and not self._poll.poll(0):
                raise Gone(_too_slow(seconds))
        try:
            message, descriptors, *_ = socket.recv_fds(self._socket, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            message, descriptors = b"", []
        if not message:
            raise Gone(self._end())
        return message, descriptors[0] if descriptors else None

    def _end(self) -> str:
        """Return what ended the process."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.returncode
        if code == -signal.SIGPROF:
            return _too_slow(self._limits.decode_seconds)
        if code is None:
            return "the decoder closed its connection"
        return f"the decoder died ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"

    def _state(self) -> str:
        """Return the kernel's letter for what the process does: R runs, S sleeps, T is stopped, ..."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2][1]
        except (OSError, IndexError):
            return "R"


def _too_slow(seconds: float) -> str:
    return f"decoding took longer than {seconds:g} s"
