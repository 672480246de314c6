"""What commands say on standard error, and results on standard output, for as long as somebody reads them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from maskserve.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable


def say(line: str, over: str = "") -> None:
    """Write a line to standard error; `over` comes before it."""
    write_error(f"{over}maskserve: {one_line(line)}\n")


def write_error(text: str) -> None:
    """Write to standard error. Nothing happens where it is closed, or nobody reads it any more."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person watches `stream`; None is one that was closed before the program began."""
    return stream is not None and not stream.closed and stream.isatty()


class StandardOutput:
    """Standard output, which may end before the results do.

    Attributes:
        reason: why it ended; empty as long as it goes on.
        gone: whether it ended because its reader did, as in ``| head``.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.gone = False

    def write(self, print_result: Callable[[], None]) -> None:
        """Call `print_result`, which prints, unless standard output has ended; learn here if it does."""
        if self.reason or sys.stdout is None:
            return
        try:
            print_result()
            sys.stdout.flush()
        except BrokenPipeError:
            self.reason, self.gone = "nobody reads standard output any more", True
        except (OSError, ValueError) as error:
            self.reason = f"standard output cannot be written: {getattr(error, 'strerror', None) or error}"
        if self.reason:
            _discard()


def _discard() -> None:
    """Lead standard output nowhere, so that what is left in its buffer is no error when the program ends."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
