"""What the end-to-end tests share: every way to the same model, over both protocols and in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import DEMO

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

__all__ = ["DEMO", "WAYS", "Where"]

WAYS = ("grpc", "http", "process")


class Where:
    """Where the demo model is: the first argument of `create_pipeline`, and its `url`."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __call__(self, way: str, model: str = DEMO) -> tuple[str, str | None]:
        if way == "process":
            repository: Path = self._request.getfixturevalue("demo_repository")
            return str(repository / model), None
        server: Server = self._request.getfixturevalue("server")
        return model, server.grpc_url if way == "grpc" else server.http_url


@pytest.fixture(scope="session")
def where(request: pytest.FixtureRequest) -> Where:
    """Return what a pipeline to the demo model is made with."""
    return Where(request)
