"""Answers as bytes: PaddleX's envelope around results and refusals."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskserve.instances import Instance
    from maskserve.results import InstanceSegResult

_JPEG_QUALITY = 90


def success(log_id: str, result: InstanceSegResult, *, visualize: bool) -> bytes:
    """The body of the answer to a request that went well. Draws when it has to: not for the event loop.

    Raises:
        InputError: the picture cannot be drawn upon.
    """
    found: dict[str, Any] = {"instances": [_instance(instance) for instance in result.instances]}
    if visualize:
        found["image"] = _picture(result)
    return _body({"logId": log_id, "errorCode": 0, "errorMsg": "Success", "result": found})


def answer(log_id: str, code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An envelope without a result; `code` 0 is success, any other is the status, too."""
    body = _body({"logId": log_id, "errorCode": code, "errorMsg": message})
    return json_response(body, code or 200, headers)


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response that is JSON already."""
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def _body(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _instance(instance: Instance) -> dict[str, Any]:
    _, _, width, height = instance.mask.box
    return {
        "bbox": list(instance.box),
        "categoryId": instance.class_id,
        "categoryName": instance.label,
        "score": instance.score,
        "mask": {"rleResult": instance.mask.counts.decode("ascii"), "size": [height, width]},
    }


def _picture(result: InstanceSegResult) -> str:
    file = io.BytesIO()
    result.draw().save(file, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")
