import json
import logging
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from maskserve import InputError, InvalidImage, InvalidParameter

FOUND = [
    (0, 0.505867063999176, (61.719788, 40.084305, 227.5755, 490.0)),
    (2, 0.25, (-4.0, 0.0, 10.5, 12.5)),
    (0, 0.75, (5.0, 5.0, 9.0, 9.0)),
]
SIZE = (480, 640)


@pytest.fixture
def input_image(tmp_path):
    path = tmp_path / "photos" / "street.jpg"
    path.parent.mkdir()
    cv2.imwrite(str(path), np.full((*SIZE, 3), 90, np.uint8))
    return str(path)


@pytest.fixture
def result(result_of, input_image):
    return result_of(input_image, FOUND, SIZE)


def test_a_result_is_the_dict_of_paddlex(result, input_image):
    assert isinstance(result, dict)
    assert list(result) == ["input_path", "boxes", "masks"]
    assert result["input_path"] == input_image
    assert [list(box) for box in result["boxes"]] == [["cls_id", "label", "score", "coordinate"]] * 3
    assert [box["label"] for box in result["boxes"]] == ["person", "car", "person"]


def test_clipped_sides_are_ints_and_the_others_exact_float32(result):
    first, second, _ = (box["coordinate"] for box in result["boxes"])
    assert first == [61.71978759765625, 40.084304809570312, 227.57550048828125, 480]
    assert [type(value) for value in first] == [float, float, float, int]
    assert second == [0, 0, 10.5, 12.5]
    assert [type(value) for value in second] == [int, int, float, float]


def test_masks_are_crops_at_the_rounded_boxes(result):
    masks = result["masks"]
    assert [mask.shape for mask in masks] == [(440, 166), (12, 10), (4, 4)]
    assert masks[-1].tolist() == [[1, 1, 0, 0]] * 4
    assert masks[0].dtype == np.uint8
    assert len(masks) == 3
    assert [mask.shape for mask in masks[1:]] == [(12, 10), (4, 4)]
    with pytest.raises(IndexError):
        masks[3]


def test_columns_and_instances(result):
    assert result.boxes_xyxy.dtype == np.float32
    assert result.boxes_xyxy[1].tolist() == [0, 0, 10.5, 12.5]
    assert result.scores.tolist() == pytest.approx([0.505867, 0.25, 0.75])
    assert result.class_ids.tolist() == [0, 2, 0]
    assert len(result.instances) == 3
    last = list(result.instances)[-1]
    assert (last.class_id, last.label, last.score, last.box) == (0, "person", 0.75, (5.0, 5.0, 9.0, 9.0))
    assert last.mask.area == 8
    assert [one.label for one in result.instances[::2]] == ["person", "person"]


def labels_and_scores(result):
    return [(box["label"], round(box["score"], 2)) for box in result["boxes"]]


def test_filter(result):
    assert labels_and_scores(result.filter(threshold=0.25)) == [("person", 0.51), ("person", 0.75)]
    assert labels_and_scores(result.filter(labels=["car"])) == [("car", 0.25)]
    assert labels_and_scores(result.filter(class_ids=[0], threshold=0.6)) == [("person", 0.75)]
    assert labels_and_scores(result.filter(min_area=9)) == [("person", 0.51), ("car", 0.25)]
    assert result.filter(class_ids=[]).instances.image_size == SIZE


@pytest.mark.parametrize(
    ("by", "order"),
    [("score", [2, 0, 1]), ("area", [0, 1, 2]), ("label", [1, 0, 2]), ("x", [1, 2, 0]), ("y", [1, 2, 0])],
)
def test_sort(result, by, order):
    found = labels_and_scores(result)
    assert labels_and_scores(result.sort(by)) == [found[i] for i in order]


def test_sort_by_nonsense(result):
    with pytest.raises(InvalidParameter, match="cannot sort by 'size'"):
        result.sort("size")


def test_print_is_the_line_of_paddlex(result, input_image, capsys):
    result.print()
    line = capsys.readouterr().out
    assert line == (
        f"{{'input_path': '{input_image}', 'boxes': ["
        "{'cls_id': 0, 'label': 'person', 'score': 0.505867063999176, "
        "'coordinate': [61.719788, 40.084305, 227.5755, 480]}, "
        "{'cls_id': 2, 'label': 'car', 'score': 0.25, 'coordinate': [0, 0, 10.5, 12.5]}, "
        "{'cls_id': 0, 'label': 'person', 'score': 0.75, 'coordinate': [5.0, 5.0, 9.0, 9.0]}], 'masks': '...'}\n"
    )
    assert result.str + "\n" == line


@pytest.mark.parametrize("name", ["json_format", "format_json"])
def test_print_as_json(result, capsys, name):
    result.print(**{name: True}, indent=2)
    text = capsys.readouterr().out
    assert text.startswith('{\n  "input_path"')
    assert json.loads(text)["boxes"][0]["coordinate"][0] == 61.71978759765625
    assert json.loads(text)["masks"] == "..."


def test_json_on_disk_is_strict_and_its_masks_are_coco(result, tmp_path):
    path = result.save_to_json(tmp_path / "out")
    assert path == tmp_path / "out" / "street.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document == result.json
    for rle, crop in zip(document["masks"], result["masks"], strict=True):
        reference = coco.encode(np.asfortranarray(crop))
        assert (rle["size"], rle["counts"]) == (list(crop.shape), reference["counts"].decode())
    assert document["masks"][0]["origin"] == [62, 40]


def test_dense_masks_on_request(result, tmp_path):
    path = result.save_to_json(tmp_path / "dense.json", masks="dense")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["masks"] == [mask.tolist() for mask in result["masks"]]
    with pytest.raises(InvalidParameter, match="no form 'text'"):
        result.to_dict("text")


def test_indent_and_ascii(result_of, grey, tmp_path):
    result = result_of(grey(1, 4, 4), [], (4, 4))
    result["input_path"] = "straße.jpg"
    assert '\n "input_path": "straße.jpg"' in result.save_to_json(tmp_path / "a.json", 1).read_text(encoding="utf-8")
    assert "stra\\u00dfe" in result.save_to_json(tmp_path / "a.JSON", 1, True).read_text(encoding="utf-8")


NAMES = {
    ("3.0b2", "json"): "street.json",
    ("3.0b2", "img"): "street.jpg",
    ("3.x", "json"): "street_res.json",
    ("3.x", "img"): "street_res.jpg",
}


@pytest.mark.parametrize(("generation", "kind"), NAMES)
def test_file_names_by_generation(result_of, input_image, tmp_path, generation, kind):
    result = result_of(input_image, FOUND, SIZE, generation)
    path = getattr(result, f"save_to_{kind}")(str(tmp_path / "deep" / "out.d"))
    assert path == tmp_path / "deep" / "out.d" / NAMES[generation, kind]
    assert path.stat().st_size > 0
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_later_generation(result_of, input_image, capsys):
    result = result_of(input_image, FOUND, SIZE, "3.x")
    assert list(result) == ["input_path", "page_index", "boxes", "masks"]
    assert result["input_img"].shape == (*SIZE, 3)
    assert list(result.json) == list(result.str) == list(result.img) == ["res"]
    assert result.json["res"]["page_index"] is None
    result.print()
    assert capsys.readouterr().out.startswith("{'res': {'input_path': ")
    with pytest.raises(KeyError):
        result["nonsense"]


def test_the_first_generation_has_no_input_img(result):
    with pytest.raises(KeyError):
        result["input_img"]


def test_a_picture_in_memory_gets_one_name(result_of, grey, tmp_path):
    result = result_of(grey(1, 4, 4), [], (4, 4))
    result.save_all(tmp_path)
    input_image, document = sorted(tmp_path.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert (input_image.suffix, document.suffix) == (".png", ".json")
    assert input_image.stem == document.stem


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.webp", "a.jpeg", "a.bmp"])
def test_a_file_may_be_named(result, tmp_path, name):
    assert result.save_to_img(str(tmp_path / name)) == tmp_path / name
    with Image.open(tmp_path / name) as image:
        assert image.size == (640, 480)


def test_the_original_is_never_overwritten(result, input_image):
    before = Path(input_image).read_bytes()
    for target in (input_image, input_image.rpartition("/")[0]):
        assert result.save_to_img(target).name == "street_res.jpg"
    assert Path(input_image).read_bytes() == before


def test_what_cannot_be_written(result, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        result.save_to_json(tmp_path / "file" / "x.json")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["file"]


def test_saving_is_logged(result, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="maskserve"):
        path = result.save_to_json(tmp_path)
    assert f"The result has been saved in {path}." in caplog.text


def test_results_may_go_to_another_process(result):
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result
    assert copy.to_dict() == result.to_dict()


def test_a_notebook_shows_the_picture(result, input_image):
    assert result._repr_png_().startswith(b"\x89PNG")
    Path(input_image).unlink()
    assert result._repr_png_() is None


@pytest.mark.parametrize("content", [None, b"", "other"])
def test_a_picture_that_is_gone_or_another_one(result, input_image, content):
    if content is None:
        Path(input_image).unlink()
    elif content == "other":
        cv2.imwrite(input_image, np.zeros((5, 5, 3), np.uint8))
    else:
        Path(input_image).write_bytes(b"")
    expected = InputError if content is None else InvalidImage
    with pytest.raises(expected, match=r"no such file|cannot be decoded|now it is 5x5"):
        result.draw()
