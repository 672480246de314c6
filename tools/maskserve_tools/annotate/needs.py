"""What `maskserve annotate` needs beside the base install: found out before a model is loaded or a tool is asked."""

from __future__ import annotations

import os
import sys

from maskserve.errors import ToolError
from maskserve.paddlex.config import read_settings
from maskserve_convert import catalogue
from maskserve_tools.extras import install_line, missing_packages, need
from maskserve_tools.model_source import Kind, find_source

_CVAT_PYTHON = (3, 11)


def check_extras(what: str, extra: str, model: str, url: str | None) -> None:
    """Make sure that a tool's packages are there, and those that run the model where it runs here.

    Args:
        what: the command, for the message.
        extra: the tool's.
        model: as `create_pipeline` takes it.
        url: the server that was named.

    Raises:
        ToolError: something is missing, or there is no such model.
        InvalidParameter: the pipeline file makes no sense.
    """
    if extra == "cvat" and sys.version_info < _CVAT_PYTHON:
        raise ToolError(f"{what} needs cvat-sdk, which needs Python {'.'.join(map(str, _CVAT_PYTHON))} or later")
    settings = read_settings(model)
    named = url or os.environ.get("MASKSERVE_URL") or settings.url
    if named or settings.folder is None:
        need(what, extra)
        return
    if find_source(settings.folder).kind is Kind.PADDLE and missing_packages("convert"):
        raise ToolError(bundle_first(what, settings.folder, extra))
    need(what, extra, "local")


def bundle_first(what: str, model: str, extra: str) -> str:
    """Return how a Paddle model gets to an annotation tool: their packages and the converter's exclude each other."""
    return (
        f"{what} needs a converted model, and the packages that convert one (numpy 1) do not go with its own (numpy 2)."
        f" In another environment: {install_line('convert', 'server')}, maskserve convert {model} --bundle "
        f"model.maskserve. Here: {install_line(extra, 'local')}, and --pipeline model.maskserve"
    )


def is_to_be_converted(model: str) -> bool:
    """Return whether a model that no server has is one of PaddleX's, which would have to be converted here."""
    settings = read_settings(model)
    return settings.folder is None and catalogue.is_official(settings.model) and bool(missing_packages("convert"))
