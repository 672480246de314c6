"""Tools that fill a Triton model repository from Paddle models, and run it.

Example::

    from maskserve import create_pipeline
    from maskserve_tools import convert, serve

    convert("Mask-RT-DETR-S_infer", repository="model_repository")
    with serve("model_repository") as server:
        pipeline = create_pipeline("Mask-RT-DETR-S", url=server.grpc_url)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskserve_tools.convert_source import convert
    from maskserve_tools.embedded import serve
    from maskserve_tools.models.fetching import fetch

__all__ = ["convert", "fetch", "serve"]

_HOMES = {
    "convert": "maskserve_tools.convert_source",
    "fetch": "maskserve_tools.models.fetching",
    "serve": "maskserve_tools.embedded",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
