"""`POST /instance-segmentation`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from maskserve_gateway.cancelling import unless_gone
from maskserve_gateway.envelope import json_response, success
from maskserve_gateway.images import check_content, decode_base64, url_in
from maskserve_gateway.keys import check_key
from maskserve_gateway.limits import read_body
from maskserve_gateway.observing import exchange_of
from maskserve_gateway.refusals import Refusal, too_slow
from maskserve_gateway.schema import SegmentationRequest, SuccessEnvelope, error_responses
from maskserve_gateway.tracing import trace_headers

if TYPE_CHECKING:
    from maskserve_gateway.observing import Exchange
    from maskserve_gateway.service import Service

PATH = "/instance-segmentation"
router = APIRouter()

# FastAPI would read the body before it could be counted, and refuse what axios and curl send as a form.
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SegmentationRequest.model_json_schema()}},
    }
}


@router.post(
    PATH,
    operation_id="infer",
    summary="Segment an image",
    response_model=SuccessEnvelope,
    responses=error_responses(400, 401, 408, 413, 415, 422, 500, 502, 503, 504),
    openapi_extra=_BODY,
)
async def infer(request: Request) -> Response:
    """Find the objects in an image and their masks."""
    service: Service = request.app.state.service
    exchange = exchange_of(request)
    check_key(request.headers, service.keys)
    with service.turns.present(), service.metrics.under_way():
        limits = service.settings
        body = await read_body(request, limit=limits.max_body_bytes, seconds=limits.timeout)
        return await unless_gone(request, _answer(service, exchange, body, dict(request.headers)))


async def _answer(service: Service, exchange: Exchange, body: bytes, headers: dict[str, str]) -> Response:
    asked, image = await asyncio.to_thread(_read, body, strict=service.settings.strict_paddlex)
    content = check_content(image if isinstance(image, bytes) else await service.images.fetch(image))
    async with service.turns.turn():
        try:
            return await asyncio.wait_for(
                _segment(service, exchange, asked, content, headers), service.settings.timeout
            )
        except asyncio.TimeoutError:
            raise too_slow() from None


async def _segment(
    service: Service, exchange: Exchange, asked: SegmentationRequest, image: bytes, headers: dict[str, str]
) -> Response:
    trace = trace_headers(headers, exchange.log_id)
    exchange.trace = trace["traceparent"]
    result = await service.segment(image, asked.threshold, trace)
    service.metrics.found(len(result.instances))
    visualize = service.settings.visualize if asked.visualize is None else asked.visualize
    return json_response(await asyncio.to_thread(success, exchange.log_id, result, visualize=visualize))


def _read(body: bytes, *, strict: bool) -> tuple[SegmentationRequest, bytes | str]:
    """The request, and its image or the URL of it. Takes its time where the body is large: not for the event loop."""
    asked = parse(body, strict=strict)
    url = url_in(asked.image)
    return asked, decode_base64(asked.image) if url is None else url


def parse(body: bytes, *, strict: bool) -> SegmentationRequest:
    """The request in a body, whatever its content type says.

    Raises:
        Refusal: it is not JSON, or has not the fields that it must have.
    """
    try:
        return SegmentationRequest.model_validate_json(body)
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
