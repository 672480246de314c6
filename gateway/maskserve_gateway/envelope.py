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
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def success(log_id: str, result: InstanceSegResult, *, visualize: bool, max_drawn_pixels: int | None = None) -> bytes:
    """Return the body of the answer to a request that went well. Draws when it has to: not for the event loop.

    Raises:
        InputError: the image cannot be drawn upon.
    """
    found: dict[str, Any] = {"instances": [_instance(instance) for instance in result.instances]}
    if visualize:
        found["image"], scale = _image(result, max_drawn_pixels)
        if scale != 1:
            found["imageScale"] = scale
    return _body({"logId": log_id, "errorCode": 0, "errorMsg": "Success", "result": found})


def answer(log_id: str, code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an envelope without a result; `code` 0 is success, any other is the status, too."""
    body = _body({"logId": log_id, "errorCode": code, "errorMsg": message})
    return json_response(body, code or 200, headers)


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response that is JSON already."""
    return Response(body, status, {**_HEADERS, **(headers or {})}, "application/json")


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


def _image(result: InstanceSegResult, max_pixels: int | None) -> tuple[str, float]:
    """Return the image in Base64, and how much smaller its sides are than those of the original."""
    file = io.BytesIO()
    image = result.draw(max_pixels=max_pixels)
    scale = float(image.info.get("scale", 1))
    comment = {} if scale == 1 else {"comment": f"drawn at {scale:.6g} of the original size"}
    image.save(file, "JPEG", quality=_JPEG_QUALITY, **comment)
    return base64.b64encode(file.getbuffer()).decode("ascii"), scale
