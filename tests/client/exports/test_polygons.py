"""LabelMe and YOLO: polygons in pixels and as parts of the image's size, and the files that LabelMe opens."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco
from tests.client.exports.made_results import FAILED, SIZE, named

from maskserve import InvalidParameter
from maskserve.exports import save_labelme, to_coco, to_labelme, to_yolo


def test_labelme(result):
    document = json.loads(json.dumps(to_labelme(result)))
    assert (document["imageHeight"], document["imageWidth"]) == SIZE
    first, second = document["shapes"]
    assert (first["label"], first["shape_type"], first["group_id"], second["group_id"]) == ("person", "polygon", 0, 1)
    assert sorted(first["points"]) == [[10.0, 20.0], [10.0, 40.0], [30.0, 20.0], [30.0, 40.0]]


RING = np.pad(np.ones((6, 6), bool), 2)
RING[4:6, 4:6] = False
TWO = np.zeros((10, 10), bool)
TWO[:2, :2] = TWO[8:, 8:] = True


@pytest.mark.parametrize(("parts", "counts"), [("split", [1, 2]), ("largest", [1, 1]), ("join", [1, 1])])
def test_parts_of_labelme_and_yolo(parts, counts):
    result = named("a.png", [RING, TWO, np.zeros((10, 10), bool)])
    groups = [shape["group_id"] for shape in to_labelme(result, parts=parts)["shapes"]]
    assert [groups.count(number) for number in range(3)] == [*counts, 0]
    assert len(to_yolo(result, parts=parts).splitlines()) == sum(counts)
    with pytest.raises(InvalidParameter, match="no form 'all' of parts"):
        to_yolo(result, parts="all")  # type: ignore[arg-type]


def test_labelme_files_refer_to_the_picture(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("é.jpg", "b.png"):
        cv2.imwrite(str(tmp_path / "photos" / name), np.zeros((4, 5, 3), np.uint8))
    results = [named(str(tmp_path / "photos" / name)) for name in ("é.jpg", "b.png")]
    beside = save_labelme(results, tmp_path / "photos")
    assert [path.name for path in beside] == ["é.json", "b.json"]
    assert json.loads(beside[0].read_text())["imagePath"] == "é.jpg"
    elsewhere = save_labelme(results, tmp_path / "out" / "deep")
    assert json.loads(elsewhere[1].read_text())["imagePath"] == "../../photos/b.png"
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == ["b.json", "é.json"]


def test_labelme_has_tiff_files_as_png(tmp_path):
    path = tmp_path / "a.png"  # whatever its name is
    path.write_bytes(cv2.imencode(".tif", np.full((4, 5), 7, np.uint8))[1].tobytes())
    (written,) = save_labelme(named(str(path)), tmp_path / "out")
    assert json.loads(written.read_text())["imagePath"] == "a.png"
    assert (tmp_path / "out" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert to_labelme(named(str(path)))["imageData"]


SOURCES = [(None, None), ("http://host/folder/street.jpg?x=1", None), ("scan.pdf", 3)]


@pytest.mark.parametrize(("path", "page"), SOURCES)
def test_labelme_has_the_picture_where_there_is_no_file(path, page, tmp_path):
    (written,) = save_labelme(named(path, page=page), tmp_path)
    document = json.loads(written.read_text())
    assert document["imageData"] is None
    assert document["imagePath"] == f"{written.stem}.png"
    assert cv2.imread(str(tmp_path / document["imagePath"]))[0, 0].tolist() == [10, 20, 30]
    if path:
        assert written.name == ("scan_3.json" if page else "street.json")
    assert to_labelme(named(path, page=page))["imageData"].startswith("iVBOR")


def test_labelme_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5, 3), 200, np.uint8))
    results = [named(str(tmp_path / "a.png")), named("http://x/a.jpg"), named("http://y/A.jpg"), FAILED]
    for _ in range(2):  # the second time the same files
        written = save_labelme(results, tmp_path)
        assert [path.name for path in written] == ["a.json", "a_2.json", "A_3.json"]
    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [200] * 3
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["A_3.png", "a.png", "a_2.png"]


def test_yolo(result, empty):
    first, second = to_yolo(result).splitlines()
    number, *values = first.split()
    assert number == "0"
    points = np.array(values, float).reshape(-1, 2) * [100, 60]
    assert sorted(points.round(4).tolist()) == [[10.0, 20.0], [10.0, 40.0], [30.0, 20.0], [30.0, 40.0]]
    assert second.startswith("2 0 0.8")
    assert to_yolo(empty) == ""


def test_yolo_takes_the_largest_part():
    pixels = np.zeros(SIZE, bool)
    pixels[5:10, 5:10] = pixels[20:40, 20:40] = True
    pixels[25:30, 25:30] = False
    (line,) = to_yolo(named("a.png", [pixels, pixels & False])).splitlines()
    assert len(line.split()) == 9
    assert line.split()[1] == "0.2"


@pytest.mark.filterwarnings("ignore:__array__ impl")  # pycocotools' decode under numpy 2
def test_yolo_numbers_are_precise_enough_for_the_pixels():
    """The polygon as it is in the text, painted by pycocotools, is the mask, also in a large image."""
    pixels = np.zeros((3001, 4007), bool)
    pixels[:, 4006] = pixels[3000] = True
    pixels[1000:1003, 2000:2004] = True
    (line,) = to_yolo(named("a.png", [pixels]), parts="join").splitlines()
    points = np.array(line.split()[1:], float).reshape(-1, 2) * [4007, 3001]
    painted = coco.decode(coco.merge(coco.frPyObjects([points.ravel().tolist()], 3001, 4007)))
    assert np.array_equal(painted, pixels)


def test_yolo_numbers_have_no_exponent():
    pixels = np.zeros((1, 30_000), bool)
    pixels[0, 1] = True
    assert to_yolo(named("a.png", [pixels])) == "0 0.00003333 0 0.00006667 0 0.00006667 1 0.00003333 1\n"


@pytest.mark.parametrize("export", [lambda one: to_coco(one, 1), to_labelme, to_yolo])
def test_a_failure_cannot_be_exported(export):
    with pytest.raises(InvalidParameter, match=r"this image failed, there is nothing to export: bad\.jpg"):
        export(FAILED)
    with pytest.raises(InvalidParameter, match="a str is not a result"):
        export("photo.jpg")
