"""`create_pipeline`: from a name or a file and a URL to a pipeline."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskserve._config import check_device, read_settings
from maskserve._connect import open_transport
from maskserve._endpoint import parse_url
from maskserve._generations import DEFAULT, generation_named
from maskserve._local import find_server
from maskserve._segmenter import checked_batch_size, checked_threshold
from maskserve.errors import InvalidParameter
from maskserve.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskserve._transport import Transport


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
    """A pipeline that calls a served model. A server that was named is not asked before the first picture.

    Arguments beat what a pipeline file says. Where neither an argument nor the environment nor the file names a server,
    the one at ``grpc://localhost:8001`` is taken if it has a model of that name. Otherwise, and always for a folder, a
    server is started on this machine now (with ``maskserve[embedded,convert]``), as PaddleX loads a model now; it is
    stopped when the pipeline is closed or not used any more, and at the end of the program.

    Args:
        pipeline: name of the model, such as "Mask-RT-DETR-S"; "instance_segmentation" is the server's only model, or
            Mask-RT-DETR-S where it has several. Or the path of a pipeline file (``.yaml``) of either generation of
            PaddleX, or a model's folder, whose ``inference.yml`` has the name.
        config: the content of a pipeline file, instead of `pipeline`.
        url: the server, such as ``grpc://localhost:8001`` or ``http://localhost:8000`` (``grpcs`` and ``https`` for
            TLS); without it the environment's MASKSERVE_URL, then ``url`` in the pipeline file.
        device: what to run the model on where a server is started here, "cpu" for instance; a server that is running
            has decided that already, and the value is only checked.
        use_hpip: whether PaddleX would use its high-performance plugin. The fastest engine that works is always taken.
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
        InvalidParameter: an argument makes no sense, or the model cannot be run on `device` here.
        ServerUnavailable: no server was named, none is there, and none can be started.
    """
    settings = read_settings(pipeline if config is None else config)  # type: ignore[arg-type]  # None is refused there
    device = device or settings.device
    if device:
        check_device(device)
    if not timeout > 0:
        raise InvalidParameter(f"timeout={timeout!r} is not a number of seconds")
    if concurrency < 1:
        raise InvalidParameter(f"concurrency={concurrency!r}: at least one request has to be under way")
    if retries < 0:
        raise InvalidParameter(f"retries={retries!r}: a request is sent once at least")
    threshold = checked_threshold(settings.threshold if threshold is None else threshold)
    concurrency = max(concurrency, checked_batch_size(settings.batch_size))
    generation_named(generation)

    def connect(address: str, limit: float = math.inf) -> Transport:
        endpoint = replace(parse_url(address), timeout=min(timeout, limit), ca_file=ca_file)
        return open_transport(replace(endpoint, headers=dict(headers or {}), shared_memory=shared_memory))

    address = url or os.environ.get("MASKSERVE_URL") or settings.url
    if address:
        model, transport = settings.model, connect(address)
    else:
        model, transport = find_server(settings, device, connect)
    return Pipeline(
        model, transport, threshold=threshold, concurrency=concurrency, generation=generation, retries=retries
    )
