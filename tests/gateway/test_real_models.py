"""One gateway in front of all the models of a real tritonserver."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from maskserve_server.metrics import RUNS
from tests.conftest import DEMO
from tests.docker.scraping import scrape
from tests.gateway.conftest import PATH, as_base64, encoded, envelope
from tests.gateway.test_real import PHOTO, command
from tests.tools.embedded.conftest import needs_triton

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

pytestmark = needs_triton
SINGLE = f"{DEMO}-single"
IMAGE = {"image": as_base64(encoded())}


def found(gateway: httpx.Client, path: str) -> list[dict[str, object]]:
    response = gateway.post(path, json={"image": as_base64(PHOTO.read_bytes()), "visualize": False})
    assert response.status_code == 200, response.text
    instances: list[dict[str, object]] = response.json()["result"]["instances"]
    return instances


def names(gateway: httpx.Client) -> list[str]:
    return [model["name"] for model in gateway.get("/models").json()["models"]]


def runs(server: Server) -> dict[str, float]:
    counts = dict.fromkeys((DEMO, SINGLE), 0.0)
    for (name, labels), value in scrape(server.metrics_url).items():
        if name == RUNS:
            counts[dict(labels)["model"]] += value
    return counts


def test_all_models_of_a_server(server: Server) -> None:
    with command("--url", server.grpc_url) as (_, gateway):
        assert gateway.get("/models").json()["models"] == [
            {"name": DEMO, "default": True, "labels": ["person"], "threshold": 0.5},
            {"name": SINGLE, "default": False, "labels": ["person"], "threshold": 0.5},
        ]
        before = runs(server)
        expected = found(gateway, PATH)
        assert expected
        assert found(gateway, f"/models/{DEMO}{PATH}") == expected == found(gateway, f"/models/{SINGLE}{PATH}")
        assert {name: count - before[name] for name, count in runs(server).items()} == {DEMO: 2, SINGLE: 1}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_models_that_are_loaded_and_unloaded(protocol: str, demo_repository: Path, tmp_path: Path) -> None:
    from maskserve_tools import serve

    repository = tmp_path / "models"
    copy(demo_repository / SINGLE, repository / "one")
    with serve(repository, restart=False) as server:
        url = server.grpc_url if protocol == "grpc" else server.http_url
        with command("--url", url) as (_, gateway):
            assert names(gateway) == ["one"]
            assert envelope(gateway.post(f"/models/two{PATH}", json=IMAGE))[0] == 404
            copy(repository / "one", repository / "two")
            shutil.rmtree(repository / "one")
            assert server.reload().loaded == ("two",)
            for _ in range(2):  # at once, and when the gateway has asked again
                assert envelope(gateway.post(f"/models/one{PATH}", json=IMAGE))[0] == 404
                assert envelope(gateway.post(PATH, json=IMAGE))[0] == 502  # it was the default
            assert found(gateway, f"/models/two{PATH}")
            assert names(gateway) == ["two"]


def copy(entry: Path, target: Path) -> None:
    shutil.copytree(entry, target)
    config = target / "config.pbtxt"
    text = config.read_text(encoding="utf-8")
    assert f'name: "{entry.name}"' in text
    config.write_text(text.replace(f'name: "{entry.name}"', f'name: "{target.name}"', 1), encoding="utf-8")
