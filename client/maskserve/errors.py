"""Everything maskserve raises, in one tree.

Each class carries a stable `code`, which travels in the server's answers::

    MaskserveError
    ├── InputError                the request is wrong; sending it again changes nothing
    │   ├── InvalidImage          not an image, or a damaged one
    │   ├── UnsupportedFormat     an image, but of a kind that is not accepted
    │   ├── ImageTooLarge         too many bytes or pixels
    │   └── InvalidParameter      a threshold or filter that makes no sense
    ├── ServerError               the server's side
    │   ├── ServerUnavailable     nothing answers there
    │   │   └── ServerOverloaded  it has too many requests already, and refused this one at once
    │   ├── ModelNotFound         the server has no such model
    │   ├── ModelNotReady         the model is there but cannot answer now
    │   ├── RequestTimeout        no answer in time
    │   └── InferenceFailed       the model failed
    └── ToolError                 converting, serving and the other commands
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_MESSAGE = 4000
_TRY_AGAIN = re.compile(r"try again in (\d{1,6}) s\b")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return `text` with escapes such as ``\x1b`` for what is no text; line breaks and tabs stay."""
    return _UNPRINTABLE.sub(_escaped, text)


def shortened(text: str, most: int = MAX_MESSAGE) -> str:
    """Return `text`, or its beginning and its end where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    left_out = len(text) - most
    return f"{text[: most * 3 // 4]} [{left_out} characters left out] {text[-(most // 4) :]}"


def listed(names: Iterable[object], most: int) -> str:
    """Return `names` with commas between them; of more than `most` the first ones and the number of the others."""
    everything = list(names)
    some = ", ".join(map(str, everything[:most]))
    return some if len(everything) <= most else f"{some} and {len(everything) - most} more"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python has a byte of a file name that is no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class MaskserveError(Exception):
    """Base of all errors raised by maskserve.

    Args:
        message: what is wrong and how to fix it, for a person. Bytes of strangers in it (control characters, names
            that are no UTF-8) are written as escapes, since they may do anything to a terminal or a log. Of a very long
            message the middle is left out.
    """

    code = "error"

    def __init__(self, message: str) -> None:
        self.message = shortened(printable(message))
        super().__init__(self.message)


class InputError(MaskserveError):
    """Report that the request itself is wrong; `status` is the HTTP status that fits it."""

    code = "invalid_input"
    status = 400


class InvalidImage(InputError):
    """Report that the bytes are not an image, or a damaged one."""

    code = "invalid_image"


class UnsupportedFormat(InputError):
    """Report an image of a kind that is not accepted."""

    code = "unsupported_format"
    status = 415


class ImageTooLarge(InputError):
    """Report more bytes or pixels than the server accepts."""

    code = "image_too_large"
    status = 413


class InvalidParameter(InputError):
    """Report an argument that makes no sense, such as a threshold of 2."""

    code = "invalid_parameter"
    status = 422


class ServerError(MaskserveError):
    """Report a failure on the server's side.

    Attributes:
        lost: whether the request was with a server that ended, or lost a process, while it had it. The request may be
            the cause: sent to another server, it may end that one, too. So nothing in maskserve sends it again. A
            program that trusts its images may do so.
    """

    code = "server_error"
    lost = False


class ServerUnavailable(ServerError):
    """Report that nothing answers at the address."""

    code = "server_unavailable"


class ServerOverloaded(ServerUnavailable):
    """The server has too many requests already and refused this one at once: nothing was computed.

    Attributes:
        retry_after: seconds after which it is worth trying again; None where the server does not say.
    """

    code = "server_overloaded"

    @property
    def retry_after(self) -> float | None:
        """Return the seconds that the message names."""
        found = _TRY_AGAIN.search(self.message)
        return float(found[1]) if found else None


class ModelNotFound(ServerError):
    """Report that the server has no model of that name."""

    code = "model_not_found"


class ModelNotReady(ServerError):
    """Report that the model is there but cannot answer now."""

    code = "model_not_ready"


class RequestTimeout(ServerError):
    """Report that no answer came in time."""

    code = "timeout"


class InferenceFailed(ServerError):
    """Report that the model failed on this request."""

    code = "inference_failed"


class ToolError(MaskserveError):
    """Report that converting, serving or another command failed."""

    code = "tool_error"


def to_wire(error: MaskserveError) -> str:
    """Return the text that carries `error` through Triton: its code in brackets, then the message."""
    return f"[{error.code}] {error.message}"


def from_wire(text: str) -> MaskserveError | None:
    """Return the error that `to_wire` wrote, or None where `text` is somebody else's.

    Triton may put words of its own in front ("in ensemble 'NAME', ..."), so the code is looked for anywhere.
    """
    for code, kind in _BY_CODE.items():
        marker = f"[{code}] "
        if marker in text:
            return kind(text.split(marker, 1)[1])
    return None


def _tree(root: type[MaskserveError]) -> list[type[MaskserveError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]


_BY_CODE = {kind.code: kind for kind in _tree(MaskserveError)}
