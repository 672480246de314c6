"""Boxes and masks that do not fit together, or are none, are errors that say what to do."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from tests.client.edits.forms import SIZE, check, expected, pickled

from maskserve import InvalidParameter
from maskserve.exports import to_coco, to_labelme, to_yolo


def test_without_masks(result, tmp_path, capsys):
    del result["masks"]
    result["boxes"].pop()
    result.print()
    assert "masks" not in capsys.readouterr().out
    document = json.loads(Path(result.save_to_json(tmp_path)).read_text(encoding="utf-8"))
    assert list(document) == ["input_path", "boxes"]
    assert len(document["boxes"]) == len(result.scores) == 3
    for form in (result.draw, lambda: result.instances, lambda: to_yolo(result), result.sort, result.filter):
        with pytest.raises(InvalidParameter, match=r'no "masks" any more.*set res\["masks"\] again'):
            form()
    assert copy.deepcopy(result) == result == pickled(result)
    assert result._repr_png_() is None


def test_without_boxes(result):
    del result["boxes"]
    assert list(result.to_dict("none")) == ["input_path", "masks"]
    for form in (result.to_dict, lambda: result.scores, result.draw):
        with pytest.raises(InvalidParameter, match='no "boxes" any more'):
            form()


def with_box(**changes):
    def edit(result):
        result["boxes"][1].update(changes)

    return edit


def shuffled_boxes(result):
    result["boxes"].sort(key=lambda box: box["score"])


def shuffled_copies(result):
    result["boxes"] = sorted(copy.deepcopy(result["boxes"]), key=lambda box: box["score"])


def shuffled_masks(result):
    result["masks"].sort(key=np.sum)


def shuffled_boxes_beside_other_arrays(result):
    """Boxes of one size, so that the masks fit: only what is in the masks tells whose they are."""
    result["masks"] = [mask.astype(bool) for mask in result["masks"][:2]]
    result["boxes"] = [result["boxes"][1], result["boxes"][0]]
    result["masks"][1][0, 0] ^= True


def only_boxes_are_cut(result):
    result["boxes"] = result["boxes"][:2]


def the_whole_image(result):
    result["masks"][1] = np.ones(SIZE, bool)


def rounded_inwards(result):
    result["boxes"][0]["coordinate"] = [4, 5, 23, 34]


WRONG = [
    (only_boxes_are_cut, r"2 boxes but 4 masks: .*filter, sort and take"),
    (lambda result: result["masks"].pop(), r"4 boxes but 3 masks"),
    (shuffled_boxes, r"belong to different instances: .*filter, sort and take"),
    (shuffled_copies, r"belong to different instances"),
    (shuffled_boxes_beside_other_arrays, r'boxes"\]\[0\] and res\["masks"\]\[0\] belong to different instances'),
    (shuffled_masks, r"belong to different instances"),
    (the_whole_image, r"masks\"\]\[1\] is 60 x 100 pixels .*covers 31 x 20: give pixels\[4:35, 30:50\]"),
    (rounded_inwards, r"masks\"\]\[0\] is 31 x 20 pixels .*covers 29 x 19"),
    (with_box(label=3), r'boxes"\]\[1\]\["label"\] is 3: give text'),
    (with_box(label=None), "give text"),
    (with_box(score="high"), r'\["score"\] is \'high\': give a finite number'),
    (with_box(score=float("nan")), "finite"),
    (with_box(cls_id=-1), "from 0"),
    (with_box(cls_id=1.5), "from 0"),
    (with_box(cls_id=True), "from 0"),
    (with_box(coordinate=[1, 2, 3]), r"give \[x0, y0, x1, y1\]"),
    (with_box(coordinate=[50, 4, 30, 35]), "x0 <= x1"),
    (with_box(coordinate=None), r"give \[x0, y0, x1, y1\]"),
    (with_box(coordinate="1234"), r"give \[x0, y0, x1, y1\]"),
    (lambda result: result["boxes"][1].pop("score"), 'has no "score"'),
    (lambda result: result["boxes"].insert(1, "box"), r'boxes"\]\[1\] is of type str: give a dict'),
    (lambda result: result.update(boxes=None), r'res\["boxes"\] is of type NoneType: give a list'),
    (lambda result: result.update(masks="..."), r'res\["masks"\] is of type str'),
    (lambda result: result["masks"].__setitem__(0, None), r'masks"\]\[0\] is not a mask: it is a NoneType'),
    (lambda result: result["masks"].__setitem__(0, np.ones(5)), r"shape \[5\], not \[h, w\]"),
    (lambda result: result["masks"].__setitem__(0, [[0, 1], [1]]), "is not a mask"),
]


@pytest.mark.parametrize(("edit", "message"), WRONG)
def test_what_does_not_fit_together_is_an_error(result, edit, message, tmp_path, capsys):
    edit(result)
    for form in (
        lambda: result.instances,
        result.to_dict,
        lambda: result.json,
        result.draw,
        lambda: result.img,
        lambda: result.save_to_img(tmp_path / "a.png"),
        lambda: result.save_to_json(tmp_path / "a.json"),
        lambda: to_coco(result, 1),
        lambda: to_yolo(result),
        lambda: to_labelme(result),
        result.filter,
        result.sort,
    ):
        with pytest.raises(InvalidParameter, match=message):
            form()
    assert not list(tmp_path.iterdir())
    result.print()  # PaddleX prints whatever is there, and so the edit can be looked at
    assert copy.deepcopy(result) == result


def test_a_mistake_can_be_undone(result):
    boxes = list(result["boxes"])
    shuffled_boxes(result)
    with pytest.raises(InvalidParameter):
        _ = result.instances
    result["boxes"] = boxes
    check(result, expected(range(4)))


def test_what_json_cannot_hold(result, tmp_path, capsys):
    result["camera"] = object()
    for form in (result.to_dict, lambda: result.save_to_json(tmp_path), lambda: result.print(True)):
        with pytest.raises(InvalidParameter, match=r"res\['camera'\] cannot be written as JSON: .* the object in it"):
            form()
    result.print()
    result["camera"] = float("nan")
    with pytest.raises(InvalidParameter, match="cannot be written as JSON"):
        result.save_to_json(tmp_path)
    result["camera"] = (Path("a"), np.arange(2), np.bool_(True), {np.int64(1): np.float32(0.5)}, None)
    assert json.loads(json.dumps(result.json))["camera"] == ["a", [0, 1], True, {"1": 0.5}, None]


@pytest.mark.parametrize(
    "mask",
    [{}, {"size": [2, 2]}, {"size": [2], "counts": "04"}, {"size": [1, 1], "counts": "04"}, {"size": 3, "counts": b""}],
    ids=str,
)
def test_a_dict_that_is_no_mask(result, mask):
    result["masks"][0] = mask
    with pytest.raises(InvalidParameter, match=r'res\["masks"\]\[0\] is not a mask'):
        result.to_dict()


def test_a_result_inside_itself_is_refused(result):
    result["itself"] = result
    with pytest.raises(InvalidParameter, match="contains itself"):
        result.to_dict()
    with pytest.raises(InvalidParameter, match="contains itself"):
        result.print(json_format=True)


def test_what_is_set_as_instances_must_be_instances(result):
    for wrong in (result.instances[0], list(result.instances), None):
        with pytest.raises(InvalidParameter, match="is no Instances"):
            result.instances = wrong
    check(result, expected(range(4)))


def test_a_page_that_is_none(result, tmp_path):
    result["page_index"] = np.int64(4)
    assert result.save_to_json(tmp_path).name == "street_4.json"
    result["page_index"] = "four"
    with pytest.raises(InvalidParameter, match=r'res\["page_index"\] is \'four\': give the number of a page'):
        result.save_to_json(tmp_path)
