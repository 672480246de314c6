"""Class names in every script, from inference.yml through the server to every form of an answer."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve import InstanceSegResult, create_pipeline
from maskserve.exports import save_coco, to_labelme, to_yolo
from maskserve_tools import convert, serve
from maskserve_tools.embedded import Server
from tests.packages import need

need("paddle2onnx", reason="converting needs the convert extra")
need("pytriton", reason="serving needs the server extra")


# As many as tests need: each of the eighty classes has one of them, with its number, or just as it is.
WORDS = ("行人", "café", "😀", "שלום", "a \"b\" 'c'", "new\nline", "tab\there", "comma, here", "سيارة", "line\u2028end")
LABELS = [*WORDS, "twice", "twice", *(f"{WORDS[number % len(WORDS)]} {number}" for number in range(12, 80))]
SCHEMES = ("grpc", "http")
LAYOUTS = ("ensemble", "single")


@pytest.fixture(scope="module")
def folder(paddle_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Paddle folder with these labels, in a place with a name like them."""
    folder = tmp_path_factory.mktemp("text") / "模型 é"
    shutil.copytree(paddle_model("tiny-PP-YOLOE_seg-320"), folder)
    settings = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
    text = yaml.safe_dump({**settings, "label_list": LABELS}, allow_unicode=True)
    (folder / "inference.yml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def repository(folder: Path) -> Path:
    repository = folder.parent / "仓库"
    for layout in LAYOUTS:
        convert(folder, repository=repository, name=layout, layout=layout)
    return repository


@pytest.fixture(scope="module")
def served(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that was started where nothing says UTF-8, and whose temporary folder has a name like the labels."""
    import tempfile

    with pytest.MonkeyPatch.context() as patch:
        for name in ("LANG", "LC_ALL"):
            patch.setenv(name, "C")
        patch.setenv("PYTHONIOENCODING", "ascii")
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp-é")))
        with serve(repository) as running:
            yield running


@pytest.fixture
def input_image(images: list[Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(images[0], tmp_path / "foto-é-行.jpg"))


def predict(served: Server, input_image: Path, layout: str = "ensemble", scheme: str = "grpc") -> InstanceSegResult:
    url = served.grpc_url if scheme == "grpc" else served.http_url
    with create_pipeline(layout, url=url) as pipeline:
        (result,) = pipeline.predict(input_image, threshold=0.02)
    assert isinstance(result, InstanceSegResult)
    return result


def wanted(result: InstanceSegResult) -> list[str]:
    names = [LABELS[index] for index in result.class_ids.tolist()]
    assert len(set(names)) > 3, "few classes prove little"
    return names


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_labels_arrive(served: Server, input_image: Path, layout: str, scheme: str) -> None:
    result = predict(served, input_image, layout, scheme)
    assert [box["label"] for box in result["boxes"]] == wanted(result)
    assert list(result.instances.labels) == wanted(result)


def test_the_configuration_has_all_of_them(served: Server) -> None:
    import urllib.request

    with urllib.request.urlopen(f"{served.http_url}/v2/models/single/config", timeout=10) as answer:
        config = json.load(answer)
    assert json.loads(config["parameters"]["labels"]["string_value"]) == LABELS


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_json_files(served: Server, input_image: Path, tmp_path: Path, ensure_ascii: bool) -> None:
    result = predict(served, input_image)
    path = result.save_to_json(tmp_path / "out", ensure_ascii=ensure_ascii)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [box["label"] for box in document["boxes"]] == wanted(result)
    assert Path(document["input_path"]).name == input_image.name


def test_images_are_saved(served: Server, input_image: Path, tmp_path: Path) -> None:
    path = predict(served, input_image).save_to_img(tmp_path / "out")
    assert path.name == input_image.name
    assert path.stat().st_size > 1000


def test_exports(served: Server, input_image: Path, tmp_path: Path) -> None:
    result = predict(served, input_image)
    names = wanted(result)
    coco = json.loads(save_coco([result], tmp_path / "coco.json", lambda *_: 7).read_text(encoding="utf-8"))
    assert [LABELS[entry["category_id"]] for entry in coco] == names
    shapes = json.loads(json.dumps(to_labelme(result), ensure_ascii=False))["shapes"]
    assert {shape["label"] for shape in shapes} <= set(names)
    assert [names[shape["group_id"]] for shape in shapes] == [shape["label"] for shape in shapes]
    classes = {int(line.split()[0]) for line in to_yolo(result).splitlines()}
    assert classes <= set(result.class_ids.tolist())


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_rows_of_a_batch(served: Server, input_image: Path, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow", exc_type=ImportError)
    from maskserve.inputs.image import InputImage
    from maskserve_tools.batch.loading import ListedImage
    from maskserve_tools.batch.writing import FORMATS, row_for

    result = predict(served, input_image)
    row = row_for(ListedImage("foto-é-行.jpg", str(input_image), InputImage(bytes, str(input_image))), result)
    FORMATS[form].save(tmp_path / "rows", [row])
    (read,) = FORMATS[form].read(tmp_path / "rows")
    assert [instance["category"] for instance in read["instances"]] == wanted(result)
    assert read["id"] == "foto-é-行.jpg"


def test_rest(served: Server, input_image: Path) -> None:
    pytest.importorskip("fastapi", reason="the REST service needs the gateway extra", exc_type=ImportError)
    import httpx

    from maskserve_gateway.app import create_app
    from maskserve_gateway.settings import Settings
    from tests.gateway.conftest import PATH, listening

    body: dict[str, Any] = {"image": base64.b64encode(input_image.read_bytes()).decode(), "threshold": 0.02}
    with listening(create_app(Settings(urls=(served.grpc_url,), model="ensemble"))) as url:
        answer = httpx.post(url + PATH, json={**body, "visualize": True}, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    found = answer.json()["result"]["instances"]
    assert len({LABELS[one["categoryId"]] for one in found}) > 3
    names = [one.get("category", one.get("categoryName", LABELS[one["categoryId"]])) for one in found]
    assert names == [LABELS[one["categoryId"]] for one in found]
    assert base64.b64decode(answer.json()["result"]["image"])[:2] == b"\xff\xd8"


def test_the_doctor_has_nothing_to_say_about_their_letters(repository: Path) -> None:
    from maskserve_tools.doctor.labels import check_labels
    from maskserve_tools.doctor.read_entries import read_entries

    said = [finding.what for finding in check_labels(read_entries(repository).entries)]
    assert len([text for text in said if "same name" in text]) == len(LAYOUTS), said
    assert not [text for text in said if "equally many" in text], said
    labels = (repository / "single" / "labels.txt").read_text(encoding="utf-8").split("\n")
    assert labels[:6] == ["行人", "café", "😀", "שלום", "a \"b\" 'c'", "new line"]
    assert len(labels) == len(LABELS) + 1


def test_half_a_character_is_refused(folder: Path, tmp_path: Path) -> None:
    from maskserve.errors import ToolError

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    settings = yaml.safe_load((broken / "inference.yml").read_text(encoding="utf-8"))
    text = json.dumps({**settings, "label_list": ["\ud83d", *LABELS[1:]]})
    (broken / "inference.yml").write_text(text, encoding="utf-8")
    with pytest.raises(ToolError, match="half of a character"):
        convert(broken, repository=tmp_path / "models")


def test_what_people_read_is_not_escaped(repository: Path) -> None:
    assert "行人" in (repository / "single" / "1" / "model.json").read_text(encoding="utf-8")
    assert "行人" in (repository / "single" / "config.pbtxt").read_text(encoding="utf-8")
