"""The OpenAPI page at ``/docs``: Swagger UI from a package, so that nothing is loaded from other hosts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response

from maskserve_gateway.static_page import HEADERS

if TYPE_CHECKING:
    from fastapi import FastAPI

# Swagger UI styles its elements one by one, and has its icons in data: addresses.
_POLICY = HEADERS["Content-Security-Policy"].replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
_HEADERS = {**HEADERS, "Content-Security-Policy": _POLICY}
_INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>maskserve gateway</title>
<link rel="icon" href="favicon.png">
<link rel="stylesheet" href="swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="start.js"></script>
</body>
</html>
"""
_START = """\
SwaggerUIBundle({ url: "../openapi.json", dom_id: "#swagger-ui", validatorUrl: null });
"""
_FILES = ("favicon.png", "swagger-ui.css", "swagger-ui-bundle.js")


def mount(app: FastAPI) -> None:
    """Serve the page below ``/docs/``."""
    answers = {
        "": Response(_INDEX, media_type="text/html", headers=_HEADERS),
        "start.js": Response(_START, media_type="text/javascript", headers=_HEADERS),
        **{name: FileResponse(_folder() / name, headers=_HEADERS) for name in _FILES},
    }
    for name, answer in answers.items():
        app.add_route(f"/docs/{name}", answer)  # type: ignore[arg-type]  # an answer is an application of its own


def _folder() -> Path:
    spec = find_spec("fastapi_offline")  # its files alone are wanted
    assert spec is not None, "the gateway extra brings it"
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"
