"""The OpenAPI page."""

from __future__ import annotations

import re

import httpx


def test_the_page_and_all_that_it_loads_come_from_the_service(gateway: httpx.Client) -> None:
    index = gateway.get("/docs/")
    assert index.status_code == 200
    assert "script-src 'self'" in index.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"#]+)"', index.text)
    assert {"swagger-ui-bundle.js", "swagger-ui.css", "start.js"} <= set(links)
    for link in links:
        assert "/" not in link
        for _ in range(2):
            assert gateway.get(f"/docs/{link}").status_code == 200
    assert len(gateway.get("/docs/swagger-ui-bundle.js").content) > 1_000_000
    assert '"../openapi.json"' in gateway.get("/docs/start.js").text
    assert "/instance-segmentation" in gateway.get("/openapi.json").json()["paths"]
