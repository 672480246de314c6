"""`POST /instance-segmentation`, for the default model and for each."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from maskserve.errors import ServerOverloaded
from maskserve_gateway.access_log import exchange_of
from maskserve_gateway.cancelling import to_the_end, unless_gone
from maskserve_gateway.envelope import json_response, success
from maskserve_gateway.errors import Refusal, too_slow
from maskserve_gateway.images import check_content, decode_base64, url_in
from maskserve_gateway.keys import check_key
from maskserve_gateway.limits import read_body
from maskserve_gateway.memory import BYTES_PER_FILE_BYTE, counted, drawing_bytes
from maskserve_gateway.schema import SegmentationRequest, SuccessEnvelope, error_responses
from maskserve_gateway.tracing import trace_headers

if TYPE_CHECKING:
    from maskserve_gateway.access_log import RequestContext
    from maskserve_gateway.memory import Share
    from maskserve_gateway.served_model import ServedModel
    from maskserve_gateway.service import Service


PATH = "/instance-segmentation"
_AT_ONCE = 0.1  # seconds after which a refusal is late
router = APIRouter()

# FastAPI would read the body before it could be counted, and refuse what axios and curl send as a form.
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SegmentationRequest.model_json_schema()}},
    }
}


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way.

    Attributes:
        service: that it came to.
        name: of the model, as its path has it; None for the default.
        headers: of it.
        exchange: what is reported of it.
        share: its share of the memory.
    """

    service: Service
    name: str | None
    headers: dict[str, str]
    exchange: RequestContext
    share: Share


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says beside its image."""

    threshold: float | None
    visualize: bool | None


_STATUSES = (400, 401, 404, 408, 413, 415, 422, 500, 502, 503, 504)


@router.post(
    PATH,
    operation_id="infer",
    summary="Segment an image",
    response_model=SuccessEnvelope,
    responses=error_responses(*_STATUSES),
    openapi_extra=_BODY,
)
async def infer(request: Request) -> Response:
    """Find the objects in an image and their masks, with the default model."""
    return await _infer(request, None)


@router.post(
    f"/models/{{name}}{PATH}",
    operation_id="inferWithModel",
    summary="Segment an image with one of the models",
    response_model=SuccessEnvelope,
    responses=error_responses(*_STATUSES),
    openapi_extra=_BODY,
)
async def infer_with_model(name: str, request: Request) -> Response:
    """Find the objects in an image and their masks, with the model of this name."""
    return await _infer(request, name)


async def _infer(request: Request, name: str | None) -> Response:
    service: Service = request.app.state.service
    exchange = exchange_of(request)
    check_key(request.headers, service.keys)
    if not service.settings.strict_paddlex:
        _check_encoding(request.headers.get("content-encoding", ""))
    share = exchange.share = service.memory.share()
    call = Call(service, name, dict(request.headers), exchange, share)
    with service.turns.present(), service.metrics.under_way(), service.missing_is_unknown(name):
        limits = service.settings
        bounds = {"seconds": limits.timeout, "slow_seconds": limits.head_seconds}
        body = [await read_body(request, share, limit=limits.max_body_bytes, **bounds)]
        return await unless_gone(request, _answer(call, body))


async def _answer(call: Call, body: list[bytes]) -> Response:
    service, share = call.service, call.share
    begun = time.monotonic()
    end = begun + service.settings.timeout
    model = await (service.catalog.default() if call.name is None else service.catalog.find(call.name))
    call.exchange.route = PATH if call.name is None else f"/models/{call.name}{PATH}"
    async with service.readers:
        asked, image = await to_the_end(asyncio.to_thread(_read, body, strict=service.settings.strict_paddlex))
    if isinstance(image, str):
        share.shrink_to(0)
        image = await service.images.fetch(image, lambda size: share.grow(size * BYTES_PER_FILE_BYTE, reading=True))
    content = check_content(image)
    del image
    share.shrink_to(len(content) * BYTES_PER_FILE_BYTE)
    async with service.turns.turn():
        try:
            left = max(end - time.monotonic(), 0.0)
            again = time.monotonic() - begun > _AT_ONCE
            document = await asyncio.wait_for(_segment(call, model, asked, content, again=again), left)
        except asyncio.TimeoutError:
            raise too_slow() from None
    share.shrink_to(0)
    share.charge(len(document))  # until the client has read it
    return json_response(document)


async def _segment(call: Call, model: ServedModel, asked: Asked, image: bytes, *, again: bool) -> bytes:
    """Return the body of the answer.

    Args:
        call: the request.
        model: that it is for.
        asked: what else it says.
        image: its image.
        again: whether it has waited here. Then it is not refused for a server's full queue, which would be late, but
            sent again when another one has been answered.
    """
    service, exchange = call.service, call.exchange
    trace = trace_headers(call.headers, exchange.log_id)
    exchange.trace = trace["traceparent"]
    while True:
        try:
            result = await service.segment(model, image, asked.threshold, trace)
            break
        except ServerOverloaded:
            if not again or not await service.turns.place_at_server():
                raise
    service.metrics.found(len(result.instances))
    visualize = service.settings.visualize if asked.visualize is None else asked.visualize
    drawn = service.settings.max_drawn_pixels
    work = partial(success, exchange.log_id, result, visualize=visualize, max_drawn_pixels=drawn)
    height, width = result.instances.image_size
    memory = service.memory.share()
    await memory.grow(drawing_bytes(height * width, drawn) if visualize else 0)
    return await counted(memory, work)


def _check_encoding(encoding: str) -> None:
    if encoding.strip().lower() not in ("", "identity"):
        words = f"the request is compressed (Content-Encoding: {encoding[:20]!a}), which is not taken; send it plain"
        raise Refusal(415, words)


def _read(body: list[bytes], *, strict: bool) -> tuple[Asked, bytes | str]:
    """Return the request, and its image or the URL of it. A large body takes time: not for the event loop.

    `body` holds one body, which is taken out of it, so that it is not kept any longer.
    """
    request = parse(body.pop(), strict=strict)
    asked = Asked(request.threshold, request.visualize)
    url = url_in(request.image)
    return asked, decode_base64(request.image) if url is None else url


def parse(body: bytes, *, strict: bool) -> SegmentationRequest:
    """Return the request in a body, whatever its content type says.

    Raises:
        Refusal: it is not JSON, or has not the fields that it must have.
    """
    encoding = json.detect_encoding(body)
    try:
        if (
            encoding != "utf-8"
        ):  # with a byte order mark, or in UTF-16: Python's json takes both, and so do services that use it
            body = body.decode(encoding).encode()
        return SegmentationRequest.model_validate_json(body)
    except UnicodeError:
        raise Refusal(422, "body: Invalid JSON: its bytes are no text in UTF-8 or UTF-16") from None
    except ValidationError as error:
        raise Refusal(422, _schema_words(error, strict)) from None


def _schema_words(error: ValidationError, strict: bool) -> str:
    problems: list[dict[str, Any]] = [
        {"type": problem["type"], "loc": ".".join(map(str, ("body", *problem["loc"]))), "msg": problem["msg"]}
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    if strict:
        return json.dumps(problems)
    return "; ".join(f"{problem['loc']}: {problem['msg']}" for problem in problems)
