"""A result is edited like PaddleX's dict, and everything that is made of it says what the dict says."""

import copy
import json
import pickle
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve import InvalidParameter
from maskserve.exports import to_coco, to_labelme, to_yolo
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask, decode_crop
from maskserve.results import InstanceSegResult

SIZE = (60, 100)
BOXES = [(3.2, 4.0, 23.4, 34.7), (30.0, 4.0, 50.0, 35.0), (55.1, 10.0, 90.0, 60.0), (0.0, 40.0, 20.0, 60.0)]
CLASSES, SCORES, LABELS = [0, 2, 0, 1], [0.5, 0.25, 0.75, 0.9], ("person", "car", "person", "bicycle")


def noise(height, width, seed):
    return np.random.default_rng(seed).integers(0, 2, (height, width), np.uint8)


def windows(boxes=BOXES):
    return [tuple(round(value) for value in box) for box in boxes]


@pytest.fixture
def result():
    return make()


def make(generation="3.0b2", path="street.png", size=SIZE):
    masks = [
        Mask.from_crop(noise(y1 - y0, x1 - x0, seed), x0, y0, size) for seed, (x0, y0, x1, y1) in enumerate(windows())
    ]
    found = Instances(
        np.array(BOXES, np.float32),
        np.array(SCORES, np.float32),
        np.array(CLASSES, np.int32),
        LABELS,
        tuple(masks),
        size,
    )
    input_image = InputImage(lambda: np.zeros((*size, 3), np.uint8), path)
    return InstanceSegResult(input_image, found, generation)


class Loads:
    """An image that can be pickled."""

    def __call__(self):
        return np.zeros((*SIZE, 3), np.uint8)


def pickled(result):
    result._image = InputImage(Loads(), result._image.input_path)
    return pickle.loads(pickle.dumps(result))


def full(result):
    """What an observer sees of every form of a result: (label, score, pixels of the whole image) by instance."""
    seen = {}
    seen["instances"] = [(one.label, round(one.score, 4), one.mask.decode()) for one in result.instances]
    document = json.loads(json.dumps(result.to_dict()))
    painted = []
    for rle in document["masks"]:
        plane = np.zeros(SIZE, np.uint8)
        (x, y), (h, w) = rle["origin"], rle["size"]
        plane[y : y + h, x : x + w] = decode_crop(rle["counts"].encode(), h, w)
        painted.append(plane)
    boxes = [(box["label"], round(box["score"], 4)) for box in document["boxes"]]
    seen["json"] = [(*box, plane) for box, plane in zip(boxes, painted, strict=True)]
    coco = to_coco(result, 1)
    seen["coco"] = [
        (label, round(entry["score"], 4), Mask.from_coco(entry["segmentation"]).decode())
        for label, entry in zip(result.instances.labels, coco, strict=True)
    ]
    assert [len(column) for column in (result.scores, result.class_ids, result.boxes_xyxy)] == [len(coco)] * 3
    assert np.round(result.scores.astype(float), 4).tolist() == [score for _, score, _ in seen["instances"]]
    assert len({shape["group_id"] for shape in to_labelme(result)["shapes"]}) <= len(coco)
    assert len(to_yolo(result).splitlines()) == sum(bool(mask) for mask in result.instances.masks)
    return seen


def expected(order, result=None):
    original = make() if result is None else result
    return [(LABELS[i], round(SCORES[i], 4), original._source.found.masks[i].decode()) for i in order]


def check(result, wanted):
    for form, seen in full(result).items():
        assert [one[:2] for one in seen] == [one[:2] for one in wanted], form
        for (_, _, got), (_, _, want) in zip(seen, wanted, strict=True):
            assert np.array_equal(got, want), form
    for twin in (pickled(result), copy.copy(result), copy.deepcopy(result), result.copy()):
        assert twin == result
        assert twin.to_dict() == result.to_dict()
        assert np.array_equal(np.asarray(twin.draw()), np.asarray(result.draw()))


def cut(result):
    result["boxes"], result["masks"] = result["boxes"][:2], result["masks"][:2]
    return [0, 1]


def cut_in_place(result):
    del result["boxes"][1:3], result["masks"][1:3]
    return [0, 3]


def pop_one(result):
    result["boxes"].pop(0)
    result["masks"].pop(0)
    return [1, 2, 3]


def zipped_sort(result):
    pairs = sorted(zip(result["boxes"], result["masks"], strict=True), key=lambda pair: -pair[0]["score"])
    result["boxes"], result["masks"] = zip(*pairs, strict=True)
    return [3, 2, 0, 1]


def update_with_lists(result):
    order = [2, 0]
    result.update(boxes=[result["boxes"][i] for i in order], masks=[result["masks"][i].astype(bool) for i in order])
    return order


def merged(result):
    order = [1, 3]
    result |= {"boxes": [result["boxes"][i] for i in order], "masks": [result["masks"][i].tolist() for i in order]}
    return order


def deep_copied(result):
    order = [3, 1, 0]
    result["boxes"] = [copy.deepcopy(result["boxes"][i]) for i in order]
    result["masks"] = [result["masks"][i].copy().astype(np.int32) for i in order]
    return order


def reversed_both(result):
    result["boxes"].reverse()
    result["masks"].reverse()
    return [3, 2, 1, 0]


def doubled(result):
    result["boxes"] += result["boxes"][:1]
    result["masks"] += result["masks"][:1]
    return [0, 1, 2, 3, 0]


def emptied(result):
    result["boxes"].clear()
    result["masks"].clear()
    return []


def a_slice_with_steps(result):
    result["boxes"], result["masks"] = result["boxes"][::-2], result["masks"][::-2]
    return [3, 1]


def put_back(result):
    boxes, masks = result.pop("boxes"), result.pop("masks")
    result["masks"], result["boxes"] = masks, boxes
    return [0, 1, 2, 3]


def stacked(result):
    """All masks of one size, as one array."""
    result["boxes"], result["masks"] = result["boxes"][:1], np.stack([result["masks"][0]])
    return [0]


EDITS = [
    *(cut, cut_in_place, pop_one, zipped_sort, update_with_lists, merged, deep_copied, reversed_both, doubled, emptied),
    *(a_slice_with_steps, put_back, stacked),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("touched", [False, True])
def test_boxes_and_masks_are_chosen(result, edit, touched):
    if touched:
        [mask.sum() for mask in result["masks"]]
    order = edit(result)
    check(result, expected(order))


@given(st.permutations(range(4)), st.integers(0, 4), st.booleans(), st.booleans())
def test_any_choice(order, count, touched, plain):
    result, order = make(), order[:count]
    if touched:
        list(result["masks"])
    masks = result["masks"]
    result["boxes"] = [result["boxes"][i] for i in order]
    result["masks"] = [masks[i] for i in order] if plain else masks[:0] + [masks[i] for i in order]
    assert [one.label for one in result.instances] == [LABELS[i] for i in order]
    assert [one.mask for one in result.instances] == [result._source.found.masks[i] for i in order]
    for one, other in zip(result.sort("score").instances, sorted(order, key=lambda i: -SCORES[i]), strict=True):
        assert one.mask == result._source.found.masks[other]


def pop(result, wanted, i, _):
    for sequence in (result["boxes"], result["masks"], wanted):
        sequence.pop(i)


def swap(result, wanted, i, j):
    for sequence in (result["boxes"], result["masks"], wanted):
        sequence[i], sequence[j] = sequence[j], sequence[i]


def again(result, wanted, i, _):
    result["boxes"].append(dict(result["boxes"][i]))
    result["masks"].append(result["masks"][i].copy())
    wanted.append([*wanted[i][:2], wanted[i][2].copy()])


def score(result, wanted, i, j):
    result["boxes"][i]["score"] = wanted[i][1] = j / 128


def look(result, wanted, i, _):
    assert result["masks"][i].sum() == wanted[i][2].sum()


def paint(result, wanted, i, j):
    x0, y0, x1, _ = (round(value) for value in result["boxes"][i]["coordinate"])
    result["masks"][i][:2] = wanted[i][2][y0 : y0 + 2, x0:x1] = j % 2


def replace(result, wanted, i, j):
    result["masks"][i] = result["masks"][i].astype(float)
    paint(result, wanted, i, j)


EDITS_AT = st.sampled_from([pop, swap, again, score, look, paint, replace, copy.deepcopy, pickled])


@given(st.lists(st.tuples(EDITS_AT, st.integers(0, 99), st.integers(0, 99)), max_size=12))
def test_any_sequence_of_edits(edits):
    """The dict against a plain list that is edited in the same way."""
    result = make()
    wanted = [[*one] for one in expected(range(4))]
    for edit, i, j in edits:
        if edit in (copy.deepcopy, pickled):
            result = edit(result)
        elif wanted:
            edit(result, wanted, i % len(wanted), j % len(wanted))
    got = [(one.label, round(one.score, 4), one.mask.decode()) for one in result.instances]
    assert [one[:2] for one in got] == [(label, round(value, 4)) for label, value, _ in wanted]
    for (_, _, pixels), (_, _, want) in zip(got, wanted, strict=True):
        assert np.array_equal(pixels, want)
    assert len(result.to_dict()["boxes"]) == len(result.to_dict()["masks"]) == len(wanted)


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


@pytest.mark.parametrize("indices", [2, np.int64(2), [-2], np.array([False, False, True, False]), range(2, 3)])
def test_one_position_many_or_a_mask_of_bools(result, indices):
    result["boxes"][2]["track"] = 9
    assert [box["track"] for box in result.take(indices)["boxes"]] == [9]
    with pytest.raises(InvalidParameter, match="there is no instance 4"):
        result.take(4)


def test_a_choice_has_boxes_and_masks_of_its_own(result):
    result["boxes"][0]["track"] = 1
    people = result.filter(labels=["person"])
    people["boxes"][0]["coordinate"][0] = 0
    people["boxes"][0]["label"] = "dog"
    people["masks"][0][:] = 0
    assert result["boxes"][0]["label"] == "person"
    assert result["boxes"][0]["coordinate"][0] == pytest.approx(3.2)
    assert result["masks"][0].any()


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


def test_equal_boxes_may_be_sorted_together():
    """Masks that look alike are still told apart, by their place in the list."""
    result = make()
    result["boxes"][0]["coordinate"] = list(result["boxes"][1]["coordinate"])
    result["masks"][0] = result["masks"][1].copy()
    zipped_sort(result)
    assert [one.label for one in result.instances] == ["bicycle", "person", "person", "car"]


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


def test_instances_may_be_set(result):
    result.instances = result.instances.take([3, 0])
    check(result, expected([3, 0]))


def test_columns_are_read_only(result):
    for twin in (result, pickled(result)):
        for column in (twin.scores, twin.class_ids, twin.boxes_xyxy, twin.instances.scores):
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 1


def test_masks_stay_compressed_until_they_are_looked_at(result):
    cut(result)
    full(result)
    result.draw()
    result = result.sort("label")
    copies = [copy.deepcopy(result), pickled(result), result.copy()]
    for one in (result, *copies):
        assert all(crop.pixels_held is None for crop in one["masks"].elements)
    assert result["masks"][0] is result["masks"][0]
    assert [crop.pixels_held is None for crop in result["masks"].elements] == [False, True]


def test_an_untouched_result_is_what_the_server_said(result):
    assert result.instances is result.instances is result._source.found
    list(result["masks"])
    assert result.instances is result._source.found
    assert result.filter(threshold=0.3)["boxes"] == [box for box in result["boxes"] if box["score"] > 0.3]


def test_edited_instances_are_made_once(result):
    cut(result)
    assert result.instances is result.instances


def test_copies_share_and_deep_copies_do_not(result):
    shallow, deep = copy.copy(result), copy.deepcopy(result)
    result["boxes"][0]["label"] = "dog"
    result["masks"][0][:] = 0
    assert (shallow.instances[0].label, shallow.instances[0].mask.area) == ("dog", 0)
    assert deep.instances[0].label == "person"
    assert deep.instances[0].mask.area > 0
    shallow["boxes"] = []
    assert len(result["boxes"]) == 4


def test_masks_are_a_list():
    masks = make()["masks"]
    other = masks.copy()
    random.Random(1).shuffle(other)
    assert {mask.shape for mask in other} == {mask.shape for mask in masks}
    other[1:3] = [np.ones((2, 2), np.uint8)]
    assert len(other) == 3
    assert len([np.ones((1, 1))] + masks) == 5  # noqa: RUF005
    assert masks.pop().shape == (20, 20)
    masks.extend(other)
    assert len(masks) == 6
    assert repr(masks) == "<6 masks>"
    assert masks == list(masks)
    assert (masks == "text") is False


def test_boxes_and_masks_are_multiplied_like_lists(result):
    twice = copy.deepcopy(result)
    twice["boxes"], twice["masks"] = twice["boxes"] * 2, 2 * twice["masks"]
    check(twice, expected([*range(4)] * 2))
    thrice = copy.deepcopy(result)
    thrice["boxes"] *= 3
    thrice["masks"] *= 3
    check(thrice, expected([*range(4)] * 3))


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


def test_an_empty_path_names_no_hidden_file(result, tmp_path):
    result["input_path"] = ""
    assert not result.save_to_json(tmp_path).name.startswith(".")
