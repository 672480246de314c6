"""Images of 24 megapixels in every form, against a real server: the pixels decide what is too large, not the bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve import create_pipeline
from maskserve.errors import ImageTooLarge
from tests.end_to_end.conftest import DEMO

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

SIZE = (4000, 6000)


@pytest.fixture(scope="module")
def pixels() -> Any:
    path = Path(__file__).parents[2] / "demo" / "photos" / "astronaut.jpg"
    return cv2.resize(cv2.imread(str(path)), SIZE[::-1])


def tiff(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, ::-1]).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize("shared", [False, True], ids=["sent", "shared"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_every_form_of_a_large_image_has_the_same_answer(
    server: Server, pixels: Any, protocol: str, shared: bool
) -> None:
    url = server.grpc_url if protocol == "grpc" else server.http_url
    png = cv2.imencode(".png", pixels)[1].tobytes()
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    with create_pipeline(DEMO, url=url, shared_memory=shared, threshold=0.3) as pipeline:
        sources = [pixels, png, tiff(pixels), Image.fromarray(pixels[:, :, ::-1]), noise]
        *same, other = pipeline.predict(sources)
    assert same[0]["boxes"]
    assert all(result["boxes"] == same[0]["boxes"] for result in same)
    assert {result.instances.image_size for result in (*same, other)} == {SIZE}


def test_more_pixels_than_the_limit_are_too_large_in_every_form(server: Server) -> None:
    pixels = np.zeros((10_001, 10_001), np.uint8)
    with create_pipeline(DEMO, url=server.grpc_url) as pipeline:
        for source in (pixels, Image.fromarray(pixels), cv2.imencode(".png", pixels)[1].tobytes()):
            with pytest.raises(ImageTooLarge, match="10001x10001 pixels, the limit is 100000000"):
                list(pipeline.predict(source))
