"""The product's claim: what is served equals Paddle Inference on the uncut model followed by PaddleX's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import cv2
import pytest

from maskserve import create_pipeline
from maskserve_tools import convert, serve
from maskserve_tools.embedded import Server
from maskserve_tools.verify.comparison import compare
from maskserve_tools.verify.reference import open_reference
from tests.packages import need

need("paddle2onnx", reason="converting needs the convert extra")
need("pytriton", reason="serving needs the server extra")


MODELS = ("tiny-Mask-RT-DETR-320", "tiny-PP-YOLOE_seg-320", "tiny-SOLOv2-320")
LAYOUTS = ("ensemble", "single")
ENGINES = ("openvino", "onnxruntime", "paddle")
THRESHOLDS = (0.5, 0.3)
# Slow to convert, and their cores are compared with Paddle engine by engine elsewhere: one entry each, and a threshold
# at which their random weights find something.
RCNN = {"tiny-MaskRCNN-320": 0.5, "tiny-Cascade-MaskRCNN-320": 0.2}


def _name(model: str, layout: str, engine: str) -> str:
    return f"{model}-{layout}-{engine}"


@pytest.fixture(scope="module")
def all_served(paddle_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("tiny") / "model_repository"
    for model, layout, engine in product(MODELS, LAYOUTS, ENGINES):
        name = _name(model, layout, engine)
        convert(paddle_model(model), repository=repository, name=name, layout=layout, engine=engine)
    for model in RCNN:
        convert(paddle_model(model), repository=repository, name=model)
    with serve(repository, ready_timeout=600) as running:
        yield running


@pytest.fixture(scope="module")
def varied(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of different sizes, one of them 300 high (PP-YOLOE_seg's canvas is a row short there)."""
    low = tmp_path_factory.mktemp("photos") / "300-high.png"
    cv2.imwrite(str(low), cv2.resize(cv2.imread(str(images[0])), (427, 300)))
    return [*images[:2], images[3], low]


@pytest.mark.parametrize("model", MODELS)
def test_every_engine_and_layout_agrees_with_paddle(
    model: str, all_served: Server, paddle_model: Callable[[str], Path], varied: list[Path]
) -> None:
    reference = open_reference(paddle_model(model))
    found = 0
    for image, threshold in product(varied, THRESHOLDS):
        wanted = reference.predict(cv2.imread(str(image)), threshold)
        found += len(wanted)
        for layout, engine in product(LAYOUTS, ENGINES):
            for url in (all_served.grpc_url, all_served.http_url):
                with create_pipeline(_name(model, layout, engine), url=url) as pipeline:
                    (result,) = pipeline.predict(image, threshold=threshold)
                comparison = compare(wanted, result.instances, threshold)
                assert comparison.equal, f"{image.name} at {threshold} with {layout}, {engine}, {url}: {comparison}"
    assert found > 20, "images on which nothing is found prove nothing"


@pytest.mark.parametrize("model", RCNN)
def test_rcnn_agrees_with_paddle(
    model: str, all_served: Server, paddle_model: Callable[[str], Path], varied: list[Path]
) -> None:
    reference, threshold, found = open_reference(paddle_model(model)), RCNN[model], 0
    with create_pipeline(model, url=all_served.grpc_url) as pipeline:
        for image in varied:
            wanted = reference.predict(cv2.imread(str(image)), threshold)
            found += len(wanted)
            (result,) = pipeline.predict(image, threshold=threshold)
            comparison = compare(wanted, result.instances, threshold)
            assert comparison.equal, f"{image.name}: {comparison}"
    assert found > 20, "images on which nothing is found prove nothing"
