"""New labels, scores, boxes and masks in the dict of a result: all of its forms have them."""

import copy
import json

import cv2
import numpy as np
import pytest
from tests.client.edits.choosing import cut, emptied
from tests.client.edits.forms import SIZE, check, expected, make, pickled

from maskserve.exports import to_yolo


def test_both_generations_say_what_the_dict_says(capsys):
    result = make("3.x")
    cut(result)
    result["boxes"][0]["label"] = "dog"
    for document in (result.json["res"], result.str["res"]):
        assert [box["label"] for box in document["boxes"]] == ["dog", "car"]
    assert len(result.json["res"]["masks"]) == 2
    assert result.img["res"].size == SIZE[::-1]
    result.print()
    assert capsys.readouterr().out.startswith("{'res': {'input_path': 'street.png', 'page_index': None, 'boxes': [{")
    assert pickled(result).json == copy.copy(result).json == result.json


def test_labels_and_scores_are_edited_in_place(result, capsys):
    result["boxes"][0]["score"] = 0.125
    result["boxes"][1]["label"] = "Straßenbahn 電車"
    result["boxes"][1]["cls_id"] = 7
    result["boxes"][2]["score"] = np.float32(0.375)
    wanted = expected(range(4))
    wanted[0], wanted[1] = ("person", 0.125, wanted[0][2]), ("Straßenbahn 電車", 0.25, wanted[1][2])
    wanted[2] = ("person", 0.375, wanted[2][2])
    check(result, wanted)
    assert result.scores.tolist() == pytest.approx([0.125, 0.25, 0.375, 0.9])
    assert result.class_ids.tolist() == [0, 7, 0, 1]
    assert to_yolo(result).splitlines()[1].startswith("7 ")
    result.print()
    assert "'label': 'Straßenbahn 電車'" in capsys.readouterr().out
    assert "'score': 0.125" in result.str
    assert [one.score for one in result.filter(threshold=0.3).instances] == pytest.approx([0.375, 0.9])
    assert [one.label for one in result.filter(labels=["Straßenbahn 電車"]).instances] == ["Straßenbahn 電車"]


def test_a_mask_is_edited_in_place_and_replaced(result):
    wanted = expected(range(4))
    result["masks"][0][:10] = 1
    wanted[0][2][4:14, 3:23] = 1
    edited = cv2.dilate(result["masks"][2], np.ones((3, 3), np.uint8))
    result["masks"][2] = edited
    wanted[2][2][10:60, 55:90] = edited
    result["masks"][3] = (result["masks"][3] * 0.0).astype(np.float32)
    wanted[3][2][:] = 0
    check(result, wanted)
    assert result["masks"][0][:10].all()
    assert result.instances[3].mask.area == 0


def test_a_box_moves_with_its_mask(result):
    before = result.instances[1].mask.crop()
    result["boxes"][1]["coordinate"] = np.array([40.0, 14.0, 60.0, 45.0])
    moved = np.zeros(SIZE, np.uint8)
    moved[14:45, 40:60] = before
    wanted = expected(range(4))
    wanted[1] = (*wanted[1][:2], moved)
    check(result, wanted)
    assert result.boxes_xyxy[1].tolist() == [40, 14, 60, 45]


def test_a_new_box_with_its_mask(result):
    result["boxes"].append({"cls_id": np.int64(1), "label": "bicycle", "score": 1, "coordinate": (90, 50, 200, 60.4)})
    result["masks"].append(np.ones((10, 10), bool))
    plane = np.zeros(SIZE, np.uint8)
    plane[50:60, 90:100] = 1
    check(result, [*expected(range(4)), ("bicycle", 1.0, plane)])
    assert result.boxes_xyxy[4].tolist() == [90, 50, 100, 60]


def test_the_image_shows_the_edits(result):
    untouched = np.asarray(result.draw())
    result["boxes"][0]["label"] = "dog"
    assert (np.asarray(result.draw()) != untouched).any()
    emptied(result)
    assert not np.asarray(result.img).any()


def test_what_is_added_stays(result):
    result["camera"] = np.int64(3)
    result["boxes"][2]["track"] = np.int32(9)
    for form in (result, result.filter(labels=["person"]), result.sort(), result.take([2]), pickled(result)):
        document = form.to_dict("none")
        assert document["camera"] == 3
        assert [box.get("track") for box in document["boxes"] if box["score"] == 0.75] == [9]
        json.dumps(document)
    assert result.take([2, 0]).scores.tolist() == [0.75, 0.5]


def test_saved_files(result, tmp_path):
    cut(result)
    result["input_path"] = "other/name.jpg"
    result.save_all(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["name.jpg", "name.json"]
    document = json.loads((tmp_path / "name.json").read_text())
    assert (len(document["boxes"]), len(document["masks"]), document["input_path"]) == (2, 2, "other/name.jpg")


def test_the_image_that_the_path_names_is_drawn_upon(result, tmp_path):
    cv2.imwrite(str(tmp_path / "blue.png"), np.full((*SIZE, 3), (200, 0, 0), np.uint8))
    emptied(result)
    result["input_path"] = tmp_path / "blue.png"
    assert result.img.getpixel((5, 5)) == (0, 0, 200)
    assert json.loads(json.dumps(result.json))["input_path"] == str(tmp_path / "blue.png")
    result["input_img"] = np.full((*SIZE, 3), (0, 9, 0), np.uint8)
    assert result.img.getpixel((5, 5)) == (0, 9, 0)
    assert "input_img" not in result.json


def test_the_page_counts(tmp_path):
    result = make("3.x")
    result["page_index"] = 4
    assert result.save_to_json(tmp_path).name == "street_4_res.json"
    assert result.page_index == 4


def test_equality():
    result, other = make(), make()
    assert result == other
    assert result == dict(other)
    assert not result != other  # noqa: SIM202  # dict has a != of its own
    result["masks"][0][0, 0] ^= 1
    assert result != other
    result["masks"] = list(other["masks"])
    assert result == other
    assert result != {"boxes": []}
    assert result != 5
    result["boxes"][0]["coordinate"] = np.array(result["boxes"][0]["coordinate"])
    assert result == other
    result["masks"][1] = "nonsense"
    assert result != other


def test_columns_are_read_only(result):
    for twin in (result, pickled(result)):
        for column in (twin.scores, twin.class_ids, twin.boxes_xyxy, twin.instances.scores):
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 1


def test_copies_share_and_deep_copies_do_not(result):
    shallow, deep = copy.copy(result), copy.deepcopy(result)
    result["boxes"][0]["label"] = "dog"
    result["masks"][0][:] = 0
    assert (shallow.instances[0].label, shallow.instances[0].mask.area) == ("dog", 0)
    assert deep.instances[0].label == "person"
    assert deep.instances[0].mask.area > 0
    shallow["boxes"] = []
    assert len(result["boxes"]) == 4


FORMS = {
    "all of the JSON": lambda edited: edited.update(json.loads(json.dumps(edited.to_dict()))),
    "run lengths as bytes": lambda edited: edited.update(
        masks=[{**mask, "counts": mask["counts"].encode()} for mask in edited.to_dict()["masks"]]
    ),
    "Mask values": lambda edited: edited.update(masks=[instance.mask for instance in edited.instances]),
    "dense JSON": lambda edited: edited.update(json.loads(json.dumps(edited.to_dict("dense")))),
}


@pytest.mark.parametrize("edit", FORMS.values(), ids=FORMS)
def test_masks_in_every_form_that_we_write_are_taken_back(result, edit):
    edit(result)
    check(result, expected(range(4)))


def test_an_empty_path_names_no_hidden_file(result, tmp_path):
    result["input_path"] = ""
    assert not result.save_to_json(tmp_path).name.startswith(".")
