"""Everything maskserve raises, in one tree.

Each class carries a stable `code`, which travels in the server's answers, and the HTTP `status` that fits it::

    MaskserveError
    ├── InputError                the request is wrong; sending it again changes nothing
    │   ├── InvalidImage          not an image, or a damaged one
    │   ├── UnsupportedFormat     an image, but of a kind that is not accepted
    │   ├── ImageTooLarge         too many bytes or pixels
    │   └── InvalidParameter      a threshold or filter that makes no sense
    ├── ServerError               the server's side
    │   ├── ServerUnavailable     nothing answers there
    │   ├── ModelNotFound         the server has no such model
    │   ├── ModelNotReady         the model is there but cannot answer now
    │   ├── RequestTimeout        no answer in time
    │   └── InferenceFailed       the model failed
    └── ToolError                 converting, serving and the other commands
"""

from __future__ import annotations


class MaskserveError(Exception):
    """Base of all errors raised by maskserve.

    Args:
        message: what is wrong and how to mend it, for a person.
    """

    code = "error"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InputError(MaskserveError):
    """The request itself is wrong."""

    code = "invalid_input"
    status = 400


class InvalidImage(InputError):
    """The bytes are not an image, or a damaged one."""

    code = "invalid_image"


class UnsupportedFormat(InputError):
    """An image of a kind that is not accepted."""

    code = "unsupported_format"
    status = 415


class ImageTooLarge(InputError):
    """More bytes or pixels than the server accepts."""

    code = "image_too_large"
    status = 413


class InvalidParameter(InputError):
    """A threshold or filter that makes no sense."""

    code = "invalid_parameter"
    status = 422


class ServerError(MaskserveError):
    """Something on the server's side."""

    code = "server_error"
    status = 502


class ServerUnavailable(ServerError):
    """Nothing answers at the address."""

    code = "server_unavailable"
    status = 503


class ModelNotFound(ServerError):
    """The server has no model of that name."""

    code = "model_not_found"
    status = 404


class ModelNotReady(ServerError):
    """The model is there but cannot answer now."""

    code = "model_not_ready"
    status = 503


class RequestTimeout(ServerError):
    """No answer in time."""

    code = "timeout"
    status = 504


class InferenceFailed(ServerError):
    """The model failed on this request."""

    code = "inference_failed"
    status = 500


class ToolError(MaskserveError):
    """Converting, serving or another command failed."""

    code = "tool_error"


def to_wire(error: MaskserveError) -> str:
    """The text that carries `error` through Triton: its code in brackets, then the message."""
    return f"[{error.code}] {error.message}"


def from_wire(text: str) -> MaskserveError | None:
    """The error that `to_wire` wrote, or None where `text` is somebody else's.

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
