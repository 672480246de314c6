"""One gateway in front of several models: their paths, the default, and what is loaded or unloaded meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from maskserve import contract
from maskserve.errors import MaskserveError, ModelNotFound, ServerError, ServerUnavailable
from maskserve.transport.base import ServedModel
from maskserve.transport.wire import ImageRequest, Tensor
from maskserve_gateway.app import create_app
from maskserve_gateway.balancing import BalancedTransport
from maskserve_gateway.catalog import Catalog, choose_default
from maskserve_gateway.errors import Refusal
from maskserve_gateway.service import Service
from maskserve_gateway.settings import Settings
from tests.client.conftest import FakeTransport, make_answer
from tests.gateway.conftest import PATH, as_base64, encoded, envelope, listening

IMAGE = {"image": as_base64(encoded()), "visualize": False}
URLS = ("grpc://192.0.2.1:1",)


class Models(FakeTransport):
    """A server with models that differ in their labels; each finds one instance of its last class."""

    def __init__(self, **labels: list[str]) -> None:
        super().__init__()
        self.labels = labels
        self.states: dict[str, tuple[str, str]] = {}
        self.index_calls = 0
        self.failure: MaskserveError | None = None

    def models(self) -> list[ServedModel]:
        self.index_calls += 1
        if self.failure is not None:
            raise self.failure
        ready = [ServedModel(each, "READY") for name in self.labels for each in (name, f"{name}.core")]
        return [*ready, ServedModel("foreign", "READY"), *(ServedModel(n, *s) for n, s in self.states.items())]

    def model_config(self, model: str) -> dict[str, Any]:
        self.config_calls += 1
        if model == "foreign":
            return {"parameters": {}}
        self._check(model)
        texts = {
            contract.PARAMETER_LABELS: json.dumps(self.labels[model]),
            contract.PARAMETER_DRAW_THRESHOLD: f"0.{len(model)}",
        }
        return {"parameters": {key: {"string_value": text} for key, text in texts.items()}}

    def infer(self, model: str, request: ImageRequest) -> list[Tensor]:
        self._check(model)
        self.requests.append((model, request))
        return make_answer([(len(self.labels[model]) - 1, 0.5, (0.0, 0.0, 9.0, 9.0))], (30, 40))

    def _check(self, model: str) -> None:
        if self.failure is not None:
            raise self.failure
        if model not in self.labels:
            raise ModelNotFound(f"{model} at {self.url}: not found")


@pytest.fixture
def start() -> Iterator[Callable[..., httpx.Client]]:
    with ExitStack() as resources:

        def start(transport: FakeTransport, **settings: Any) -> httpx.Client:
            app = create_app(Settings(urls=URLS, **settings), transport)
            client = httpx.Client(base_url=resources.enter_context(listening(app)), timeout=20, trust_env=False)
            return resources.enter_context(client)

        yield start


def found(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    (instance,) = response.json()["result"]["instances"]
    return str(instance["categoryName"])


def listed(client: httpx.Client) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = client.get("/models").json()["models"]
    return models


def two() -> Models:
    return Models(dogs=["cat", "dog"], people=["person"])


def test_each_has_its_path_and_one_is_the_default(start: Callable[..., httpx.Client]) -> None:
    client = start(two(), model="people", models="*")
    assert listed(client) == [
        {"name": "dogs", "default": False, "labels": ["cat", "dog"], "threshold": 0.4},
        {"name": "people", "default": True, "labels": ["person"], "threshold": 0.6},
    ]
    assert found(client.post(PATH, json=IMAGE)) == "person"
    assert found(client.post(f"/models/people{PATH}", json=IMAGE)) == "person"
    assert found(client.post(f"/models/dogs{PATH}", json=IMAGE)) == "dog"
    assert client.get("/info").json()["model"] == "people"
    assert client.get("/models/dogs").json() == listed(client)[0]
    assert client.get("/models/dogs/health").json()["errorMsg"] == "Healthy"


HOSTILE = (
    *("nothing", "people.core", "foreign", "%2e%2e", "people%2f..%2fdogs", "people%00", "%F0%9F%90%B6", "%ff"),
    *("*", "x" * 5000, "instance_segmentation", "PEOPLE"),
)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("settings", [{"model": "people", "models": "*"}, {"model": "people", "models": "dogs"}])
def test_other_names_are_404_and_never_reach_a_server(
    name: str, settings: dict[str, Any], start: Callable[..., httpx.Client]
) -> None:
    transport = two()
    client = start(transport, **settings)
    for method, path in (
        ("POST", f"/models/{name}{PATH}"),
        ("GET", f"/models/{name}"),
        ("GET", f"/models/{name}/health"),
    ):
        request = client.build_request(method, "/", json=IMAGE if method == "POST" else None)
        request.url = client.base_url.copy_with(raw_path=path.encode())
        response = client.send(request)
        status, message = envelope(response)
        assert status == 404
        assert len(message) < 200
    assert transport.requests == []
    if name == "nothing":
        assert message == "there is no model 'nothing'; there is dogs, people"


def test_those_that_were_named_are_served_alone(start: Callable[..., httpx.Client]) -> None:
    transport = Models(dogs=["dog"], people=["person"], secret=["secret"])
    transport.models = None  # type: ignore[assignment]  # containers close their index
    client = start(transport, model="people", models=("dogs", "later"))
    assert [model["name"] for model in listed(client)] == ["dogs", "people"]
    assert found(client.post(f"/models/dogs{PATH}", json=IMAGE)) == "dog"
    assert envelope(client.post(f"/models/secret{PATH}", json=IMAGE))[0] == 404
    assert envelope(client.post(f"/models/later{PATH}", json=IMAGE)) == (
        404,
        "there is no model 'later'; there is dogs, later, people",
    )


def test_metrics_and_keys_are_those_of_all_models(
    start: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKSERVE_API_KEY", "sesame")
    client = start(two(), model="people", models="*")
    path = f"/models/dogs{PATH}"
    assert envelope(client.post(path, json=IMAGE))[0] == 401
    assert found(client.post(path, json=IMAGE, headers={"X-API-Key": "sesame"})) == "dog"
    client.post(f"/models/nobody{PATH}", json=IMAGE, headers={"X-API-Key": "sesame"})
    lines = client.get("/metrics").text.splitlines()
    assert f'maskserve_gateway_requests_total{{route="{path}",status="200"}} 1.0' in lines
    assert 'maskserve_gateway_requests_total{route="other",status="404"} 1.0' in lines
    assert not any("nobody" in line for line in lines)


def test_a_limit_counts_the_requests_of_all_models(start: Callable[..., httpx.Client]) -> None:
    """A body that is too large for the memory that all have together is so at each path."""
    client = start(two(), model="people", models="*", max_memory_bytes=4000)
    for path in (PATH, f"/models/dogs{PATH}"):
        status, _ = envelope(client.post(path, json={"image": as_base64(bytes(4000))}))
        assert status == 413


def test_without_a_default_the_plain_path_says_which_there_are(start: Callable[..., httpx.Client]) -> None:
    client = start(two())
    words = "there are several models: ask one at /models/NAME/instance-segmentation; there is dogs, people"
    for response in (client.post(PATH, json=IMAGE), client.get("/health"), client.get("/info")):
        assert envelope(response) == (404, words)
    assert [model["default"] for model in listed(client)] == [False, False]
    assert found(client.post(f"/models/dogs{PATH}", json=IMAGE)) == "dog"


@pytest.mark.parametrize(
    ("names", "default"), [(["b"], "b"), (["c", "b"], "b"), (["a", "Mask-RT-DETR-S"], "Mask-RT-DETR-S"), ([], None)]
)
def test_the_default_where_none_was_named(names: list[str], default: str | None) -> None:
    assert choose_default(Models(**{name: ["x"] for name in names})) == default


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def catalog(transport: FakeTransport, clock: Clock, **settings: Any) -> Catalog:
    service = Service(Settings(urls=URLS, **settings), transport)
    return Catalog(service.settings, transport, service._served, clock)


def test_models_that_come_go_and_change() -> None:
    async def scenario() -> None:
        transport, clock = Models(people=["person"]), Clock()
        found = catalog(transport, clock)
        people = await found.find("people")
        assert await found.default_name() == "people"
        with pytest.raises(Refusal, match="404"):
            await found.find("dogs")
        transport.labels["dogs"] = ["dog"]
        clock.now += 1  # asked again after a second, for a name that was not there
        assert (await found.find("dogs")).name == "dogs"
        assert await found.default_name() == "people"  # it stays
        assert await found.find("people") is people
        transport.labels["people"] = ["somebody"]  # converted again, with other labels
        clock.now += 5
        assert (await found.find("people")) is not people
        assert dict(await found.listed())["people"].labels == ("somebody",)
        del transport.labels["people"]
        clock.now += 5
        with pytest.raises(Refusal, match="404"):
            await found.find("people")
        with pytest.raises(ModelNotFound, match="people"):
            await found.default()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("state", "reason", "status"),
    [("LOADING", "", 503), ("UNAVAILABLE", "no", 503), ("UNAVAILABLE", "unloaded", 404), ("", "", 404)],
)
def test_a_model_that_is_not_ready(state: str, reason: str, status: int, start: Callable[..., httpx.Client]) -> None:
    transport = two()
    transport.states["new"] = (state, reason)
    client = start(transport, model="people", models="*")
    assert envelope(client.post(f"/models/new{PATH}", json=IMAGE))[0] == status
    assert [model["name"] for model in listed(client)] == ["dogs", "people"]


def test_strangers_do_not_make_the_servers_busy() -> None:
    async def scenario() -> None:
        transport, clock = two(), Clock()
        models = catalog(transport, clock)
        for number in range(50):
            with pytest.raises(Refusal):
                await models.find(f"x{number}")
        assert transport.index_calls == 1
        await asyncio.gather(*(models.find("dogs") for _ in range(50)))
        clock.now += 5
        await asyncio.gather(*(models.find("dogs") for _ in range(50)))
        assert transport.index_calls == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(("failure", "status"), [(ServerUnavailable("down"), 503), (ServerError("closed"), 502)])
def test_servers_that_cannot_say(failure: MaskserveError, status: int, start: Callable[..., httpx.Client]) -> None:
    transport = two()
    transport.failure = failure
    client = start(transport)
    for response in (
        client.get("/models"),
        client.post(PATH, json=IMAGE),
        client.post(f"/models/dogs{PATH}", json=IMAGE),
    ):
        assert envelope(response)[0] == status


def test_several_servers_need_not_have_the_same_models() -> None:
    one, other = Models(dogs=["dog"]), Models(people=["person"])
    down = Models()
    down.failure = ServerUnavailable("down")
    balanced = BalancedTransport([down, one, other])
    for _ in range(4):
        balanced.infer("dogs", ImageRequest(b""))
        balanced.infer("people", ImageRequest(b""))
        assert {model.name for model in balanced.models()} >= {"dogs", "people"}
    assert (len(one.requests), len(other.requests)) == (4, 4)
    assert one.index_calls == other.index_calls == 4
    one.failure = other.failure = ServerUnavailable("down, too")
    with pytest.raises(ServerUnavailable):
        balanced.models()
