"""The HTTP service that Label Studio talks to. It is imported where the extra `label-studio` is there."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from maskserve.errors import InputError, InvalidParameter, MaskserveError
from maskserve_tools.annotate.label_studio import Backend, Fetcher

_CREDENTIALS = Depends(HTTPBasic(auto_error=False))


def create_app(backend: Backend, fetcher: Fetcher | None = None, auth: tuple[str, str] | None = None) -> FastAPI:
    """Return the service.

    Args:
        backend: what answers.
        fetcher: told where Label Studio is, when it says so.
        auth: user and password that requests need (HTTP basic); None for none.
    """

    def check(given: HTTPBasicCredentials | None = _CREDENTIALS) -> None:
        if auth is None:
            return
        words = ("", "") if given is None else (given.username, given.password)
        right = [secrets.compare_digest(one.encode(), two.encode()) for one, two in zip(words, auth, strict=True)]
        if not all(right):
            raise HTTPException(401, "user or password are wrong", {"WWW-Authenticate": "Basic"})

    app = FastAPI(title="maskserve for Label Studio", docs_url=None, redoc_url=None, dependencies=[Depends(check)])

    @app.exception_handler(MaskserveError)
    def explain(_: Request, error: MaskserveError) -> JSONResponse:
        status = 422 if isinstance(error, InputError) else 503
        return JSONResponse({"error": error.message, "detail": error.message}, status)

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "maskserve", "model_version": backend.version}

    @app.get("/versions")
    def versions() -> dict[str, list[str]]:
        return {"versions": [backend.version]}

    @app.post("/setup")
    def setup(body: dict[str, Any]) -> dict[str, str]:
        backend.target(body.get("schema") or body.get("label_config"))
        if fetcher is not None:
            fetcher.introduce(body.get("hostname"), body.get("access_token"))
        return {"model_version": backend.version}

    @app.post("/predict")
    def predict(body: dict[str, Any]) -> dict[str, Any]:
        results = backend.predict(body.get("tasks"), body.get("label_config"))
        return {"results": results, "model_version": backend.version}

    @app.post("/train")
    def train() -> None:
        raise InvalidParameter("maskserve does not train: export the annotations, and train with PaddleDetection")

    @app.post("/webhook")  # of annotations that were made or changed: nothing is learnt from them
    @app.post("/delete")
    def accept() -> dict[str, Any]:
        return {}

    return app
