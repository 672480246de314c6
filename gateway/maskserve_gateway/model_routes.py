"""`/models`: which models there are, and what each is like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from maskserve_gateway.access_log import exchange_of
from maskserve_gateway.envelope import answer
from maskserve_gateway.schema import HealthEnvelope, ModelDocument, ModelsDocument, error_responses

if TYPE_CHECKING:
    from maskserve_gateway.service import Service

PATH = "/models"
router = APIRouter()


@router.get(PATH, responses=error_responses(502, 503, 504), operation_id="listModels")
async def models(request: Request) -> ModelsDocument:
    """Return the models that are loaded, by name."""
    service: Service = request.app.state.service
    return await service.models()


@router.get("/models/{name}", responses=error_responses(404, 422, 502, 503, 504), operation_id="describeModel")
async def model(name: str, request: Request) -> ModelDocument:
    """Return one of them."""
    service: Service = request.app.state.service
    await service.catalog.find(name)
    for document in (await service.models()).models:
        if document.name == name:
            exchange_of(request).route = f"{PATH}/{name}"
            return document
    raise service.catalog.unknown(name)


@router.get(
    "/models/{name}/health",
    response_model=HealthEnvelope,
    operation_id="checkModelHealth",
    responses=error_responses(404, 422, 502, 503, 504),
)
async def health(name: str, request: Request) -> Response:
    """Return whether this model has answered lately; it is asked when that is not known."""
    service: Service = request.app.state.service
    found = await service.catalog.find(name)
    exchange = exchange_of(request)
    exchange.route = f"{PATH}/{name}/health"
    with service.missing_is_unknown(name):
        await found.health.check()
    return answer(exchange.log_id, 0, "Healthy")
