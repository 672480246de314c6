"""What travels: the request, and the answer in PaddleX's envelope, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

import maskserve


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):  # which pydantic would take for 0 or 1
        raise ValueError("a threshold is a number between 0 and 1")
    return value


def _own_version() -> str:
    return maskserve.__version__


class SegmentationRequest(BaseModel):
    """What is to be segmented. Fields that are not known here are ignored."""

    model_config = ConfigDict(extra="ignore")

    image: str = Field(description="The file of an image (JPEG, PNG, WebP, BMP, TIFF) in Base64, or its URL.")
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_not_bool)] | None = Field(
        None, description="Instances must score higher; the model's own where it is left out."
    )
    visualize: bool | None = Field(
        None, description="Whether the answer holds the image with its instances; left out, the service decides."
    )


class MaskDocument(BaseModel):
    """The mask inside its box."""

    rleResult: str = Field(description="Compressed COCO run lengths of the mask's crop.")
    size: tuple[int, int] = Field(description="Height and width of the crop.")


class InstanceDocument(BaseModel):
    """One object."""

    bbox: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in pixels; the crop begins at round().")
    categoryId: int
    categoryName: str
    score: float
    mask: MaskDocument


class ResultDocument(BaseModel):
    """What was found."""

    instances: list[InstanceDocument]
    image: str | None = Field(None, description="The image with its instances: a JPEG in Base64.")
    imageScale: float | None = Field(
        None, description="Of the image's sides to those of the original; left out where it has the original's size."
    )


class SuccessEnvelope(BaseModel):
    """The answer to a request that went well."""

    logId: str
    errorCode: int = 0
    errorMsg: str = "Success"
    result: ResultDocument


class HealthEnvelope(BaseModel):
    """The model has answered lately."""

    logId: str
    errorCode: int = 0
    errorMsg: str = "Healthy"


class ErrorEnvelope(BaseModel):
    """The answer to any other."""

    logId: str
    errorCode: int = Field(description="The same as the status of the answer.")
    errorMsg: str


class ServiceInfo(BaseModel):
    """What a client may want to know of the service beforehand."""

    model: str
    labels: list[str]
    threshold: float | None = Field(description="The model's own; null where the server does not say.")
    maxBodyBytes: int
    maxPixels: int
    visualizeDefault: bool
    apiKeyRequired: bool
    version: str = Field(default_factory=_own_version, description="Of maskserve.")


class ModelDocument(BaseModel):
    """One of the models."""

    name: str = Field(description="As in /models/NAME/instance-segmentation.")
    default: bool = Field(description="Whether /instance-segmentation is for this one.")
    labels: list[str] = Field(description="The class names, by categoryId.")
    threshold: float | None = Field(description="The model's own; null where the server does not say.")


class ModelsDocument(BaseModel):
    """The models that are loaded, by name."""

    models: list[ModelDocument]


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of answers that are `ErrorEnvelope`s."""
    return {status: {"model": ErrorEnvelope} for status in statuses}
