"""`create_pipeline`: from a name or a file and a URL to a pipeline."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from maskserve._generations import DEFAULT
from maskserve._segmenter import checked_threshold
from maskserve._transport import open_transport, parse_url
from maskserve.errors import InvalidParameter
from maskserve.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "grpc://localhost:8001"


def create_pipeline(
    pipeline: str,
    *,
    url: str | None = None,
    threshold: float | None = None,
    concurrency: int = 4,
    timeout: float = 60.0,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
    generation: str = DEFAULT,
    retries: int = 2,
) -> Pipeline:
    """A pipeline that calls a served model. The server is not asked before the first picture.

    Args:
        pipeline: name of the model, such as "Mask-RT-DETR-S"; "instance_segmentation" is the server's only model, or
            Mask-RT-DETR-S where it has several.
        url: the server, such as ``grpc://localhost:8001`` or ``http://localhost:8000`` (``grpcs`` and ``https`` for
            TLS); without it the environment's MASKSERVE_URL, and without that ``grpc://localhost:8001``.
        threshold: instances must score higher; None for the model's own.
        concurrency: how many requests `predict` keeps under way.
        timeout: seconds that one request may take.
        headers: sent with every request; gRPC calls them metadata.
        ca_file: certificate authorities to trust; None for the system's.
        generation: of PaddleX, whose names and files the results have: "3.0b2" or "3.x".
        retries: how often a request is repeated, after a pause, when a server that was there is gone or its queue is
            full. Segmenting changes nothing on the server, so that repeating it is safe.

    Raises:
        InvalidParameter: an argument makes no sense.
    """
    if not isinstance(pipeline, str) or not pipeline:
        raise InvalidParameter(f"pipeline={pipeline!r} is not the name of a model")
    if not timeout > 0:
        raise InvalidParameter(f"timeout={timeout!r} is not a number of seconds")
    if concurrency < 1:
        raise InvalidParameter(f"concurrency={concurrency!r}: at least one request has to be under way")
    if retries < 0:
        raise InvalidParameter(f"retries={retries!r}: a request is sent once at least")
    endpoint = parse_url(url or os.environ.get("MASKSERVE_URL") or DEFAULT_URL)
    endpoint = replace(endpoint, timeout=timeout, headers=dict(headers or {}), ca_file=ca_file)
    return Pipeline(
        pipeline,
        open_transport(endpoint),
        threshold=checked_threshold(threshold),
        concurrency=concurrency,
        generation=generation,
        retries=retries,
    )
