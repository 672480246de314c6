"""What the first step of a model gives its requests on their way: who takes them back, until when, and of what size.

It is sealed, so that the steps behind the first one take requests from there only: called directly, with sizes and
tensors of a stranger's choice, one request could hold up everybody's. The key is made of what no client knows, and what
all processes of one server do.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskserve.errors import InvalidParameter

ADMISSION = "ADMISSION"  # the tensor's name: int64 [6]
LENGTH = 6
_FIELDS = struct.Struct("<5q")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that was taken in.

    Attributes:
        mailbox: where the first step hears that it is done, see `maskserve_server.admission.mailbox`.
        number: what the first step calls it.
        deadline: when nobody wants its answer any more, in nanoseconds of the monotonic clock; 0 where not known.
        height: of the image.
        width: of the image.
    """

    mailbox: int
    number: int
    deadline: int
    height: int
    width: int

    @property
    def expired(self) -> bool:
        """Whether its time has passed."""
        return 0 < self.deadline < time.monotonic_ns()

    def sealed(self, key: bytes) -> npt.NDArray[np.int64]:
        """Return the tensor, int64 [6]."""
        return np.array([*astuple(self), self._seal(key)], np.int64)

    @classmethod
    def opened(cls, tensor: npt.NDArray[Any] | None, key: bytes, model: str) -> Ticket:
        """Read what `sealed` wrote.

        Args:
            tensor: the tensor; None where a request has none.
            key: the server's.
            model: what is to be called instead of a step.

        Raises:
            InvalidParameter: it was not written by this server.
        """
        if tensor is not None and tensor.shape == (LENGTH,) and tensor.dtype == np.int64:
            *fields, seal = map(int, tensor)
            ticket = cls(*fields)
            if hmac.compare_digest(struct.pack("<q", seal), struct.pack("<q", ticket._seal(key))):
                return ticket
        raise not_of_this_server(model)

    def _seal(self, key: bytes) -> int:
        digest = hmac.digest(key, _FIELDS.pack(*astuple(self)), "sha256")
        return int.from_bytes(digest[:8], "little", signed=True)


def not_of_this_server(model: str) -> InvalidParameter:
    """Return the error for who asks a step without a ticket that is good.

    Args:
        model: what is to be called instead.
    """
    return InvalidParameter(f"this is a step of {model} and takes requests of {model} only: call {model}")


def server_key() -> bytes:
    """Return the key of the server that started this process: its number, when it began, and this machine's start.

    The last one is 122 random bits, the same for all processes and told to no client.
    """
    parent = os.getppid()
    return hashlib.sha256(f"{_text(_BOOT)} {parent} {_started(parent)}".encode()).digest()


def _started(process: int) -> str:
    """Return when a process began, in ticks since the machine's start; a name in front may hold spaces and brackets."""
    fields = _text(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
