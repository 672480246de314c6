"""Every kind of input, against a real server over both protocols."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from maskserve import create_pipeline
from maskserve.errors import UnsupportedFormat
from maskserve.pipeline import Pipeline
from tests.end_to_end.conftest import WAYS, Where
from tests.input_kinds import KINDS, Kind, Place, make_place, source_of, taken, website

if TYPE_CHECKING:
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kinds")
    make_place(folder)
    with website(folder) as url:
        yield Place(folder, url)


@pytest.fixture(scope="module", params=WAYS)
def pipeline(request: pytest.FixtureRequest, where: Where) -> Iterator[Pipeline]:
    model, url = where(request.param)
    with create_pipeline(model, url=url, generation="3.x") as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_input(pipeline: Pipeline, place: Place, kind: Kind) -> None:
    found = taken(pipeline, kind, place)
    assert tuple(source_of(result, place) for result in found) == kind.sources
    assert {result.instances.image_size for result in found} <= {kind.size}


@pytest.mark.parametrize("name", ["PPM", "GIF"])
def test_formats_that_are_not_accepted(pipeline: Pipeline, name: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, name)
    with pytest.raises(UnsupportedFormat, match=f"{name} images are not supported"):
        list(pipeline.predict(file.getvalue()))
