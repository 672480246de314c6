"""Which server and which model a pipeline calls."""

import json

import pytest

from maskserve import create_pipeline
from maskserve.errors import (
    InvalidParameter,
    ModelNotFound,
)
from maskserve.pipeline import Pipeline
from maskserve.transport.base import ServedModel
from maskserve.transport.endpoint import parse_url

SERVED = {
    "the only one": (["demo", "demo.core", "demo.preprocess"], "demo"),
    "the default of PaddleX": (["other", "Mask-RT-DETR-S", "Mask-RT-DETR-S.core"], "Mask-RT-DETR-S"),
}


@pytest.mark.parametrize(("names", "expected"), SERVED.values(), ids=SERVED)
def test_the_pipeline_of_paddlex_is_the_servers_model(transport, grey, names, expected):
    transport.served = [ServedModel(name, "READY") for name in names]
    pipeline = Pipeline("instance_segmentation", transport)
    list(pipeline.predict([grey(), grey()]))
    assert {model for model, _ in transport.requests} == {expected}
    assert pipeline.model == expected


@pytest.mark.parametrize(("names", "message"), [([], "has none"), (["a", "b"], "it has a, b; name one")])
def test_the_pipeline_of_paddlex_may_be_undecided(transport, grey, names, message):
    transport.served = [ServedModel(name, "READY") for name in names]
    with pytest.raises(ModelNotFound, match=message):
        list(Pipeline("instance_segmentation", transport).predict(grey()))


def test_the_server_comes_from_the_argument_or_the_environment(monkeypatch):
    monkeypatch.setenv("MASKSERVE_URL", "http://box")
    assert create_pipeline("m").url == "http://box:8000"
    assert create_pipeline("m", url="grpc://other:1").url == "grpc://other:1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pipeline": ""}, "is not the name of a model"),
        ({"pipeline": None}, "not the name of a model"),
        ({"pipeline": "m", "timeout": 0}, "timeout=0"),
        ({"pipeline": "m", "concurrency": 0}, "concurrency=0"),
        ({"pipeline": "m", "retries": -1}, "retries=-1"),
        ({"pipeline": "m", "generation": "4"}, "no generation '4'"),
        ({"pipeline": "m", "threshold": "x"}, "threshold='x'"),
        ({"pipeline": "m", "url": "localhost:8001"}, "write it like grpc://localhost:8001"),
        ({"pipeline": "m", "url": "ftp://box"}, "write it like"),
        ({"pipeline": "m", "url": "grpc://box:99999"}, "write it like"),
        ({"pipeline": "m", "url": "grpc://box/path"}, "has a path"),
        ({"pipeline": "m", "url": "http://user:word@box"}, "write it like"),
    ],
)
def test_a_pipeline_that_cannot_be(arguments, message):
    with pytest.raises(InvalidParameter, match=message):
        create_pipeline(**arguments)


def test_urls():
    assert parse_url("https://box/models/").url == "https://box:443/models"
    assert parse_url("grpcs://[::1]").url == "grpcs://[::1]:8001"
    assert json.dumps(parse_url("http://BOX").host) == '"box"'
