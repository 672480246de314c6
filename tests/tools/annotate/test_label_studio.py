"""The ML backend, asked as Label Studio asks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from maskserve.errors import InvalidParameter, ServerUnavailable
from maskserve_tools.annotate.label_config import read_label_config
from maskserve_tools.annotate.label_studio import Backend, Fetcher, Options
from maskserve_tools.annotate.label_studio_app import create_app
from tests.client.exports.test_label_studio import painted, unpacked
from tests.tools.annotate.conftest import LABELS, SIZE, KnownPipeline, known_masks

BRUSH = """<View><Image name="photo" value="$url"/>
<BrushLabels name="tag" toName="photo"><Label value="Person"/><Label value="行人"/></BrushLabels></View>"""
POLYGON = BRUSH.replace("BrushLabels", "PolygonLabels")


def fetch(address: str, task: Any, folder: str) -> Path:
    if address == "http://gone":
        raise OSError("no route to host")
    path = Path(folder) / f"{task}.jpg"
    path.write_bytes(b"damaged" if address == "http://damaged" else b"image")
    return path


class Client:
    """Requests to an application, without a socket."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://backend") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(ask())

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", path, **arguments)


class Service:
    """The backend, and what it reported."""

    def __init__(self, pipeline: KnownPipeline, auth: tuple[str, str] | None = None, **options: Any) -> None:
        self.said: list[str] = []
        self.fetcher = Fetcher()
        backend = Backend(pipeline, fetch, Options(**options), self.said.append)  # type: ignore[arg-type]
        self.client = Client(create_app(backend, self.fetcher, auth))

    def predict(self, *addresses: str, config: Any = BRUSH) -> Any:
        tasks = [{"id": number, "data": {"url": address}} for number, address in enumerate(addresses)]
        return self.client.post(
            "/predict", json={"tasks": tasks, "label_config": config, "project": "1.2", "params": {}}
        )


def test_brush_masks_are_the_masks(pipeline: KnownPipeline) -> None:
    answer = Service(pipeline).predict("http://a", "http://b").json()
    assert answer["model_version"] == "people"
    assert len(answer["results"]) == 2
    for (prediction,) in answer["results"]:
        assert prediction["model_version"] == "people"
        assert [region["value"]["brushlabels"] for region in prediction["result"]] == [["Person"], ["行人"]]
        for region, wanted in zip(prediction["result"], known_masks(), strict=True):
            assert (region["from_name"], region["to_name"]) == ("tag", "photo")
            assert (unpacked(region["value"]["rle"]).reshape(*SIZE, 4)[:, :, 3] == wanted * 255).all()
    assert pipeline.images == [b"image", b"image"]


def test_polygons_are_the_masks(pipeline: KnownPipeline) -> None:
    ((prediction,),) = Service(pipeline).predict("http://a", config=POLYGON).json()["results"]
    for region, wanted in zip(prediction["result"], known_masks(), strict=True):
        assert region["type"] == "polygonlabels"
        assert (painted(region["value"]["points"]) == wanted).all()


def test_options(pipeline: KnownPipeline) -> None:
    service = Service(pipeline, form="polygon", parts="split", threshold=0.3, version="v2")
    answer = service.predict("http://a", config=BRUSH.replace("</View>", POLYGON.split("/>", 1)[1])).json()
    assert answer["model_version"] == "v2"
    assert [region["type"] for region in answer["results"][0][0]["result"]] == ["polygonlabels"] * 3
    assert pipeline.thresholds == [0.3]


@pytest.mark.parametrize(("bad", "why"), [("http://gone", "no route to host"), ("http://damaged", "no image")])
def test_an_image_that_fails_has_no_prediction_and_the_others_have_theirs(
    pipeline: KnownPipeline, bad: str, why: str
) -> None:
    service = Service(pipeline)
    answer = service.predict("http://a", bad, "http://b")
    assert [len(predictions) for predictions in answer.json()["results"]] == [1, 0, 1]
    assert len(service.said) == 1
    assert service.said[0].startswith("task 1: ")
    assert why in service.said[0]


def test_no_image_at_all_is_an_error_that_label_studio_shows(pipeline: KnownPipeline) -> None:
    answer = Service(pipeline).predict("http://gone")
    assert answer.status_code == 422
    assert "task 0: the image http://gone cannot be fetched: no route to host" in answer.json()["error"]


def test_a_task_without_the_image(pipeline: KnownPipeline) -> None:
    body = {"tasks": [{"id": 7, "data": {"image": "http://a"}}], "label_config": BRUSH}
    answer = Service(pipeline).client.post("/predict", json=body)
    assert (answer.status_code, "task 7: it has no image under 'url'" in answer.json()["error"]) == (422, True)


def test_a_server_that_is_gone(pipeline: KnownPipeline) -> None:
    pipeline.error = ServerUnavailable("nothing answers at grpc://a:8001")
    answer = Service(pipeline).predict("http://a")
    assert (answer.status_code, answer.json()["error"]) == (503, "nothing answers at grpc://a:8001")


@pytest.mark.parametrize(
    "body", [{}, {"tasks": 3}, {"tasks": ["a"]}, {"tasks": []}, {"tasks": None, "label_config": 3}]
)
def test_a_request_that_makes_no_sense(pipeline: KnownPipeline, body: dict[str, Any]) -> None:
    assert Service(pipeline).client.post("/predict", json=body).status_code == 422


def test_no_tasks(pipeline: KnownPipeline) -> None:
    assert Service(pipeline).predict().json()["results"] == []


def test_what_label_studio_asks_besides(pipeline: KnownPipeline) -> None:
    service = Service(pipeline)
    assert service.client.get("/health").json()["status"] == "UP"
    assert service.client.get("/").json()["status"] == "UP"
    assert service.client.get("/versions").json() == {"versions": ["people"]}
    body = {"project": "1.2", "schema": BRUSH, "hostname": "http://ls:8080", "access_token": "key"}
    assert service.client.post("/setup", json=body).json() == {"model_version": "people"}
    assert service.client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).json() == {}
    train = service.client.post("/train", json={})
    assert (train.status_code, "does not train" in train.json()["error"]) == (422, True)


def test_a_project_that_does_not_fit_is_refused_when_it_is_connected(pipeline: KnownPipeline) -> None:
    answer = Service(pipeline).client.post(
        "/setup", json={"schema": BRUSH.replace("Person", "Cat").replace("行人", "Dog")}
    )
    assert answer.status_code == 422
    assert "the model has person, 行人, car, the project Cat, Dog" in answer.json()["error"]


def test_user_and_password(pipeline: KnownPipeline) -> None:
    client = Service(pipeline, auth=("me", "pass")).client
    assert client.get("/health").status_code == 401
    assert client.get("/health", auth=("me", "wrong")).status_code == 401
    assert client.get("/health", auth=("me", "pass")).status_code == 200


def test_a_key_goes_to_the_address_that_it_is_for() -> None:
    asked: list[tuple[Any, Any]] = []
    given, said = Fetcher("https://studio", "secret"), Fetcher(None, "secret")
    for fetcher in (given, said):
        fetcher.introduce("http://somebody", "theirs")
        asked.append(fetcher.server)
    assert asked == [("https://studio", "secret"), ("http://somebody", "theirs")]


@pytest.mark.parametrize("address", ["/etc/passwd", "photo.jpg", "../a.jpg", ""])
def test_files_of_this_machine_are_not_read(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no address"):
        Fetcher()(address, 1, str(tmp_path))


def test_labels_of_other_names() -> None:
    config = BRUSH.replace('value="Person"', 'value="Someone" predicted_values="person, car"')
    target = read_label_config(config, LABELS)
    assert target.labels == {"person": "Someone", "car": "Someone", "行人": "行人"}
    assert (target.form, target.from_name, target.to_name, target.key) == ("brush", "tag", "photo", "url")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("", "not XML"),
        ("<View>", "not XML"),
        ("<View/>", "has no <BrushLabels> or <PolygonLabels> tag"),
        ('<View><Image name="a" value="$i"/><RectangleLabels name="t" toName="a"/></View>', "has no <BrushLabels>"),
        (BRUSH.replace('toName="photo"', 'toName="other"'), "has no <BrushLabels>"),
        (BRUSH.replace('value="$url"', 'valueList="$urls"'), "lists of images are not supported"),
        ('<View><Image name="a" value="$i"/><BrushLabels name="t" toName="a"/></View>', "the project none"),
    ],
)
def test_a_configuration_that_does_not_fit(config: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        read_label_config(config, LABELS)


def test_the_form_that_was_asked_for() -> None:
    with pytest.raises(InvalidParameter, match="has no <PolygonLabels> tag"):
        read_label_config(BRUSH, LABELS, "polygon")


def test_the_masks_are_not_trivial() -> None:
    assert np.array_equal(known_masks().sum(axis=(1, 2)), [350, 220])
