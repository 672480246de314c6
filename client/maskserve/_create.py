"""`create_pipeline`: from a name or a file and a URL to a pipeline."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskserve.arguments import (
    checked_batch_size,
    checked_count,
    checked_flag,
    checked_headers,
    checked_seconds,
    checked_threshold,
)
from maskserve.errors import InvalidParameter
from maskserve.paddlex.config import check_device, read_settings
from maskserve.paddlex.generations import DEFAULT, generation_named
from maskserve.paddlex.model_files import is_converted
from maskserve.pipeline import Pipeline
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.local import find_model_here

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskserve.paddlex.config import Settings
    from maskserve.transport.base import Transport


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
    server: bool | None = None,
    labels_file: str | os.PathLike[str] | None = None,
) -> Pipeline:
    """Open a pipeline. A server that was named is not asked before the first image.

    Arguments beat what a pipeline file says. Where neither an argument nor the environment nor the file names a server,
    the one at ``grpc://localhost:8001`` is taken if it has a model of that name, and a warning of the logger
    ``maskserve`` says so. Otherwise, and always for a folder or a file, the model is loaded into this process now, as
    PaddleX does it (with ``maskserve[local]``; a Paddle folder or an official name is converted first, once, with
    ``maskserve[local,convert]``).

    Args:
        pipeline: name of the model, such as "Mask-RT-DETR-S"; "instance_segmentation" is the server's only model, or
            Mask-RT-DETR-S where it has several. Or the path of a pipeline file (``.yaml``) of either generation of
            PaddleX, or a model's folder, whose ``inference.yml`` has the name. Or a converted model: a bundle
            (``.maskserve``), or the directory of an entry in a model repository.
        config: the content of a pipeline file, instead of `pipeline`.
        url: the server, such as ``grpc://localhost:8001`` or ``http://localhost:8000`` (``grpcs`` and ``https`` for
            TLS); without it the environment's MASKSERVE_URL, then ``url`` in the pipeline file.
        device: what to run the model on where it runs here: "cpu", "gpu:0", "npu:0" and so on, or "auto" for a GPU if
            there is one. A server that is running has decided that already, and the value is only checked.
        use_hpip: whether PaddleX would use its high-performance plugin. The fastest engine that works is always taken.
        threshold: from 0 to 1; instances must score higher. None for the model's own.
        concurrency: how many requests `predict` keeps under way.
        timeout: seconds that one request may take.
        headers: sent with every request; gRPC calls them metadata.
        ca_file: certificate authorities to trust; None for the system's.
        generation: of PaddleX, whose names and files the results have: "3.0b2" or "3.x".
        retries: how often a request is repeated, after a pause, when a server that was there is gone or its queue is
            full. A request that was lost with a server that died is not repeated: its image may be the cause. Its error
            has ``lost`` set.
        shared_memory: whether large images are handed over in shared memory instead of being sent, where the server can
            have them that way; None for servers on a loopback address only.

        server: True starts a tritonserver on this machine where no server was named or found (with
            ``maskserve[embedded,convert]``), and stops it when the pipeline is closed or not used any more; False loads
            the model into this process, and looks for no server; None is what the environment's MASKSERVE_LOCAL says
            ("server" or "process"). If that says nothing, the model is loaded into this process if no server was found.
        labels_file: for a Paddle folder that is converted here, the names of the classes instead of those in its
            settings: a name on each line, or a list in JSON or YAML, as `maskserve convert --labels` takes it.

    Raises:
        InvalidParameter: an argument makes no sense, or the model cannot be run on `device` here.
        ServerUnavailable: no server was named, none is there, and the model can neither be loaded nor be served here.
    """
    settings = read_settings(pipeline if config is None else config)  # type: ignore[arg-type]  # None is refused there
    device = settings.device if device is None else device
    if device is not None:
        check_device(device)
    timeout = checked_seconds("timeout", timeout)
    concurrency = checked_count("concurrency", concurrency, least=1)
    retries = checked_count("retries", retries, least=0)
    shared_memory = checked_flag("shared_memory", shared_memory)
    server = _wants_server(checked_flag("server", server))
    headers = checked_headers(headers)
    threshold = checked_threshold(settings.threshold if threshold is None else threshold)
    concurrency = max(concurrency, checked_batch_size(settings.batch_size))
    generation_named(generation)

    def connect(address: str, limit: float = math.inf) -> Transport:
        endpoint = replace(parse_url(address), timeout=min(timeout, limit), ca_file=ca_file)
        return open_transport(replace(endpoint, headers=headers, shared_memory=shared_memory))

    address = (os.environ.get("MASKSERVE_URL") or settings.url) if url is None else url
    labels = _labels_file(labels_file, settings, address)
    if address is not None:
        model, transport = settings.model, connect(address)
    else:
        model, transport = find_model_here(settings, device, connect, server=server, timeout=timeout, labels=labels)
    return Pipeline(
        model, transport, threshold=threshold, concurrency=concurrency, generation=generation, retries=retries
    )


def _labels_file(file: str | os.PathLike[str] | None, settings: Settings, address: str | None) -> str | None:
    """Check that there is a folder that the names are for: what is converted has names already."""
    if file is None:
        return None
    if not isinstance(file, str | os.PathLike) or not os.fspath(file):
        raise InvalidParameter(f"labels_file={file!r} is not the path of a file with the names of the classes")
    if address is not None or settings.folder is None or is_converted(Path(settings.folder)):
        raise InvalidParameter(
            "labels_file= is for a Paddle folder that is converted here; a model that is served, or converted already, "
            "has the names of its classes: convert it again, with `maskserve convert --labels FILE`"
        )
    return os.fsdecode(file)


def _wants_server(server: bool | None) -> bool | None:
    """Read MASKSERVE_LOCAL where the argument says nothing; None where that says nothing either."""
    said = os.environ.get("MASKSERVE_LOCAL")
    if said and said not in ("process", "server"):
        raise InvalidParameter(f"MASKSERVE_LOCAL={said!r}: process and server are possible")
    return said == "server" if server is None and said else server
