"""`create_pipeline`: from a name or a file and a URL to a pipeline."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskserve._config import check_device, read_settings
from maskserve._generations import DEFAULT
from maskserve._segmenter import checked_batch_size, checked_threshold
from maskserve._transport import open_transport, parse_url
from maskserve.errors import InvalidParameter
from maskserve.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "grpc://localhost:8001"


def create_pipeline(
    pipeline: str | os.PathLike[str] | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    url: str | None = None,
    device: str | None = None,
    use_hpip: bool = False,
    threshold: float | None = None,
    concurrency: int = 4,
    timeout: float = 60.0,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
    generation: str = DEFAULT,
    retries: int = 2,
    shared_memory: bool | None = None,
) -> Pipeline:
    """A pipeline that calls a served model. The server is not asked before the first picture.

    Arguments beat what a pipeline file says.

    Args:
        pipeline: name of the model, such as "Mask-RT-DETR-S"; "instance_segmentation" is the server's only model, or
            Mask-RT-DETR-S where it has several. Or the path of a pipeline file (``.yaml``) of either generation of
            PaddleX, or a model's folder, whose ``inference.yml`` has the name.
        config: the content of a pipeline file, instead of `pipeline`.
        url: the server, such as ``grpc://localhost:8001`` or ``http://localhost:8000`` (``grpcs`` and ``https`` for
            TLS); without it the environment's MASKSERVE_URL, then ``url`` in the pipeline file, and without that
            ``grpc://localhost:8001``.
        device: where PaddleX would run the model, such as "gpu:0". The server has decided that already: the value is
            checked and nothing else.
        use_hpip: whether PaddleX would use its high-performance plugin. The server always does what it can.
        threshold: instances must score higher; None for the model's own.
        concurrency: how many requests `predict` keeps under way.
        timeout: seconds that one request may take.
        headers: sent with every request; gRPC calls them metadata.
        ca_file: certificate authorities to trust; None for the system's.
        generation: of PaddleX, whose names and files the results have: "3.0b2" or "3.x".
        retries: how often a request is repeated, after a pause, when a server that was there is gone or its queue is
            full. Segmenting changes nothing on the server, so that repeating it is safe.
        shared_memory: whether large images are handed over in shared memory instead of being sent, where the server can
            have them that way; None for servers on a loopback address only.

    Raises:
        InvalidParameter: an argument makes no sense.
    """
    settings = read_settings(pipeline if config is None else config)  # type: ignore[arg-type]  # None is refused there
    if device or settings.device:
        check_device(device or settings.device or "")
    if not timeout > 0:
        raise InvalidParameter(f"timeout={timeout!r} is not a number of seconds")
    if concurrency < 1:
        raise InvalidParameter(f"concurrency={concurrency!r}: at least one request has to be under way")
    if retries < 0:
        raise InvalidParameter(f"retries={retries!r}: a request is sent once at least")
    endpoint = parse_url(url or os.environ.get("MASKSERVE_URL") or settings.url or DEFAULT_URL)
    endpoint = replace(endpoint, timeout=timeout, headers=dict(headers or {}), ca_file=ca_file)
    endpoint = replace(endpoint, shared_memory=shared_memory)
    return Pipeline(
        settings.model,
        open_transport(endpoint),
        threshold=checked_threshold(settings.threshold if threshold is None else threshold),
        concurrency=max(concurrency, checked_batch_size(settings.batch_size)),
        generation=generation,
        retries=retries,
    )
