"""CVAT's own library, its command line, and a stand-in for its server: what is uploaded are the masks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import maskserve
from maskserve.errors import InvalidParameter, ToolError
from maskserve.exports.common import row_runs
from maskserve.masks import Mask
from maskserve_tools.annotate.cvat import CvatFunction, create, mask_points
from maskserve_tools.cli import main
from tests.tools.annotate.conftest import LABELS, SIZE, KnownPipeline, known_masks
from tests.tools.annotate.cvat_server import TOKEN, StandIn, standing_in
from tests.tools.annotate.real_label_studio import inside

missing = "cvat-sdk is not installed here (it needs Python 3.11)"
masks = pytest.importorskip("cvat_sdk.masks", reason=missing)
models = pytest.importorskip("cvat_sdk.models", reason=missing)
SHAPES = [("person", "any"), ("行人", "mask"), ("other", "any"), ("car", "any")]


@pytest.fixture(autouse=True)
def its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVAT's library keeps images; here it keeps them for one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    with standing_in(SHAPES, (SIZE[1], SIZE[0])) as standin:
        yield standin


@pytest.fixture
def opened(pipeline: KnownPipeline, monkeypatch: pytest.MonkeyPatch) -> KnownPipeline:
    """The pipeline is what `create_pipeline` opens."""
    monkeypatch.setattr(maskserve, "create_pipeline", lambda *_, **__: pipeline)
    return pipeline


def decoded(points: Any) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = masks.decode_mask(points, image_width=SIZE[1], image_height=SIZE[0])
    return found


def polygon(points: list[float]) -> npt.NDArray[np.bool_]:
    """The pixels inside a polygon."""
    return inside(np.array(points).reshape(-1, 2), SIZE)


def test_what_the_command_uploads_are_the_masks(
    server: StandIn, opened: KnownPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", "cvat", "7", "--pipeline", "people", "--server", server.url]) == 0
    assert "task 7 is annotated; the model found 4 shapes" in capsys.readouterr().out
    ((method, query, body),) = server.uploads
    assert (method, query["action"]) == ("PATCH", ["create"])
    assert [(shape["frame"], shape["label_id"], shape["type"], shape["source"]) for shape in body["shapes"]] == [
        (frame, label, "mask", "auto") for frame in (0, 1) for label in (100, 101)
    ]
    for shape, wanted in zip(body["shapes"], [*known_masks()] * 2, strict=True):
        assert (decoded(shape["points"]) == wanted).all()
    assert [np.asarray(image)[0, 0].tolist() for image in opened.images] == [[0, 2, 3], [1, 2, 3]]


def test_polygons_that_replace_what_is_there(server: StandIn, opened: KnownPipeline) -> None:
    server.labels = [(name, "polygon") for name in LABELS]
    arguments = [
        "annotate",
        "cvat",
        "7",
        "--pipeline",
        "people",
        "--server",
        server.url,
        "--shape",
        "polygon",
        "--replace",
    ]
    assert main(arguments) == 0
    ((method, _, body),) = server.uploads
    assert method == "PUT"
    assert len(body["shapes"]) == 4
    for shape, wanted in zip(body["shapes"], [*known_masks()] * 2, strict=True):
        assert shape["type"] == "polygon"
        assert (polygon(shape["points"]) == wanted).all()


def test_cvats_own_command_line(server: StandIn, opened: KnownPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cli = pytest.importorskip("cvat_cli.__main__", reason="cvat-cli is not installed here")
    module = ["--function-module", "maskserve_tools.annotate.cvat", "-p", "model=str:people", "-p", "parts=str:split"]
    words = ["--server-host", server.url, "task", "auto-annotate", "7", *module]
    monkeypatch.setattr(sys, "argv", ["cvat-cli", *words])
    assert not cli.main(words)
    ((_, _, body),) = server.uploads
    assert (decoded(body["shapes"][0]["points"]) == known_masks()[0]).all()


def test_labels_that_a_task_has_not(server: StandIn, opened: KnownPipeline, capsys: pytest.CaptureFixture[str]) -> None:
    server.labels = [("person", "any")]
    words = ["annotate", "cvat", "7", "--pipeline", "people", "--server", server.url]
    assert main(words) == 1
    assert "--unmatched-labels leaves such labels out" in capsys.readouterr().err
    assert server.uploads == []
    assert main([*words, "--unmatched-labels"]) == 0
    assert [shape["label_id"] for shape in server.uploads[0][2]["shapes"]] == [100, 100]


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (["8"], {}, "CVAT refuses task 8 with 404"),
        (["7"], {"CVAT_ACCESS_TOKEN": "wrong"}, "with 401"),
        (["7"], {"CVAT_ACCESS_TOKEN": ""}, "set CVAT_ACCESS_TOKEN, or CVAT_AUTH"),
        (["7"], {"CVAT_ACCESS_TOKEN": "", "CVAT_AUTH": "me"}, "CVAT_AUTH is not USER:PASSWORD"),
        (["7", "--tolerance", "1"], {}, "--tolerance needs polygons of single parts"),
        (["7", "--server", "http://127.0.0.1:9"], {}, "CVAT does not answer"),
    ],
)
def test_what_cannot_work_is_one_sentence(  # noqa: PLR0917
    words: list[str], variables: dict[str, str], said: str, server: StandIn, opened: KnownPipeline,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["annotate", "cvat", "--pipeline", "people", "--server", server.url, *words]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_what_cvat_asks_for_is_heeded(pipeline: KnownPipeline) -> None:
    function = CvatFunction(pipeline, parts="split")  # type: ignore[arg-type]
    assert [(label.id, label.name, label.type) for label in function.spec.labels] == [
        (number, name, "mask") for number, name in enumerate(LABELS)
    ]
    context = SimpleNamespace(conf_threshold=0.7, conv_mask_to_poly=True)
    shapes = function.detect(context, Image.new("RGB", (SIZE[1], SIZE[0])))
    assert pipeline.thresholds == [0.7]
    assert [shape.type.value for shape in shapes] == ["polygon"] * 3
    assert [getattr(shape, "group", None) for shape in shapes] == [None, 2, 2], "the parts of one instance are a group"
    assert (polygon(shapes[1].points) | polygon(shapes[2].points) == known_masks()[1]).all()
    assert [shape.score for shape in shapes] == [pytest.approx(0.9), pytest.approx(0.6), pytest.approx(0.6)]


@pytest.mark.parametrize("arguments", [{"shape": "box"}, {"parts": "all"}, {"tolerance": 2.0}])
def test_a_function_that_makes_no_sense(pipeline: KnownPipeline, arguments: Any) -> None:
    with pytest.raises(InvalidParameter):
        CvatFunction(pipeline, **arguments)  # type: ignore[arg-type]


def test_mask_points_are_cvats_own() -> None:
    generator = np.random.default_rng(0)
    for density in (0.02, 0.5, 1.0):
        pixels = generator.random((17, 23)) < density
        points = mask_points(Mask.encode(pixels))
        assert points == masks.encode_mask(pixels)
        assert (masks.decode_mask(points, image_width=23, image_height=17) == pixels).all()


def test_a_mask_whose_window_is_too_large() -> None:
    crop = np.zeros((10, 10), bool)
    crop[2:4, 3:7] = True
    assert mask_points(Mask.from_crop(crop, 5, 6, (40, 60))) == [0, 8, 8, 8, 11, 9]
    assert row_runs(crop[2:4, 3:7].astype(np.uint8)).tolist() == [0, 8]


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, opened: KnownPipeline) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cvat_sdk"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cvat_sdk", None)
    with pytest.raises(ToolError, match=r'pip install "maskserve\[cvat\]"'):
        create("people")
