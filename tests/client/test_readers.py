"""Every export, loaded by the program that it is for.

They are large, and some of them need numpy 2: install them into an environment of their own, and run this file there::

    python -m venv readers && readers/bin/pip install ".[readers]"
    readers/bin/python -m pytest tests/client/test_{readers,annotation_readers}.py tests/client/exports

The test of a program that is missing is skipped.
"""

import importlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve.exports import save_coco, save_labelme, to_labelme, to_pandas, to_supervision, to_yolo
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.results import InstanceSegResult

pytestmark = pytest.mark.filterwarnings("default")  # what other programs warn of is theirs
SIZE = (40, 60)
LABELS = ("person", "Straßenbahn 電車", "bicycle", "car", "kite", "dot", "nothing")


def masks():
    found = np.zeros((7, *SIZE), bool)
    found[0, 5:25, 10:30] = True
    found[0, 10:15, 15:25] = False  # a hole
    found[1, :10, :12] = found[1, 30:, 50:] = True  # two parts, at the borders
    np.fill_diagonal(found[2], True)
    found[3, 39, 59] = True  # the last pixel alone
    found[4, ::2, ::2] = True  # hundreds of parts
    found[5, 20, 30] = True
    return found


def make(path, page=None, count=7):
    chosen = [Mask.encode(mask) for mask in masks()[:count]]
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (mask.bbox for mask in chosen)], "f4").reshape(-1, 4)
    scores = np.linspace(0.9, 0.3, count).astype("f4")
    found = Instances(boxes, scores, np.arange(count, dtype="i4"), LABELS[:count], tuple(chosen), SIZE)
    return InstanceSegResult(InputImage(lambda: np.full((*SIZE, 3), 90, np.uint8), path, page), found)


def program(name):
    return pytest.importorskip(name, reason=f"{name} is not installed here, see the docstring", exc_type=ImportError)


def at_the_edge(got, pixels):
    """Nothing is lost, and there is nothing but the mask and what is painted with its outline."""
    wider = cv2.dilate(np.pad(pixels, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1].astype(bool)
    return (got | ~pixels).all() and not (got & ~wider).any()


@pytest.fixture
def input_image(tmp_path):
    path = tmp_path / "photos" / "straße.png"
    path.parent.mkdir()
    cv2.imencode(".png", np.full((*SIZE, 3), 90, np.uint8))[1].tofile(path)
    return str(path)


def read_labelme(path):
    """What labelme reads, by the name that its version has for it: image, and label, group and pixels of shapes."""
    program("labelme")
    utils = importlib.import_module("labelme.utils")
    try:
        read = importlib.import_module("labelme.label_file").LabelFile(str(path))
        data, shapes = read.imageData, read.shapes
    except ImportError:  # labelme 6
        read = importlib.import_module("labelme._label_file").read_label_file(str(path))
        data, shapes = read.image_data, read.shapes
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return image, [
        (shape["label"], shape["group_id"], utils.shape_to_mask(SIZE, shape["points"], shape["shape_type"]))
        for shape in shapes
    ]


SOURCES = ["photo", None, "http://host/a/street.jpg?x=1", "scan.pdf"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("parts", ["split", "join", "largest"])
@pytest.mark.parametrize("embedded", [False, True])
def test_labelme(source, parts, embedded, input_image, tmp_path):
    result = make(input_image if source == "photo" else source, 3 if source == "scan.pdf" else None)
    if embedded:
        path = Path(input_image).with_name("x.json")
        path.write_text(json.dumps(to_labelme(result, parts=parts)))
    else:
        (path,) = save_labelme(result, tmp_path / "out", parts=parts)
    image, shapes = read_labelme(path)
    assert image.shape == (*SIZE, 3)
    assert (image == 90).all()
    assert {label for label, _, _ in shapes} == set(LABELS[:6])
    for number in (0, 2, 3, 5):
        (painted,) = [pixels for _, group, pixels in shapes if group == number]
        wanted = masks()[number]
        assert (painted | ~wanted).all()
        if number or parts == "join":
            assert at_the_edge(painted, wanted)
    if parts == "split":
        for number in (1, 4):
            assert at_the_edge(
                np.any([pixels for _, group, pixels in shapes if group == number], axis=0), masks()[number]
            )


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_labelme_shows_turned_files_upright(suffix, tmp_path):
    path, exif = tmp_path / f"turned.{suffix}", Image.Exif()
    exif[0x0112] = 6
    Image.new("L", SIZE, 90).save(path, exif=exif)  # lying: SIZE is height and width
    result = make(str(path))
    result["input_path"] = str(path)
    (written,) = save_labelme(result, tmp_path / "out")
    assert read_labelme(written)[0].shape == (*SIZE, 3)


def test_labelme_without_instances(input_image, tmp_path):
    (path,) = save_labelme(make(input_image, count=0), tmp_path)
    assert read_labelme(path)[1] == []


def annotations(path):
    return {
        "info": {},
        "images": [{"id": 139, "file_name": Path(path).name, "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 10 + number, "name": label} for number, label in enumerate(LABELS)],
        "annotations": [],
    }


@pytest.mark.parametrize("bbox", [False, True])
def test_pycocotools(input_image, tmp_path, bbox):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = annotations(input_image)
    path = save_coco([make(input_image)], tmp_path / "r.json", images=truth, bbox=bbox)
    truth["annotations"] = [
        {"id": number, "image_id": 139, "category_id": 9 + number, "iscrowd": 0, "bbox": list(mask.bbox)}
        | {"area": mask.area, "segmentation": mask.to_coco()}
        for number, mask in enumerate(map(Mask.encode, masks()[:6]), start=1)
    ]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    ground = COCO(str(tmp_path / "truth.json"))
    loaded = ground.loadRes(str(path))
    entries = loaded.loadAnns(loaded.getAnnIds(imgIds=[139]))
    assert [entry["category_id"] for entry in entries] == list(range(10, 17))
    for entry, mask in zip(entries, masks(), strict=True):
        assert np.array_equal(loaded.annToMask(entry), mask)
        assert bbox or entry["area"] == mask.sum()
    evaluation = COCOeval(ground, loaded, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)  # AP: all that is there is found, and matched


def test_fiftyone(input_image, tmp_path):
    program("fiftyone")
    coco = importlib.import_module("fiftyone.utils.coco")
    path = save_coco([make(input_image)], tmp_path / "r.json", images=annotations(input_image), bbox=True)
    classes = {10 + number: label for number, label in enumerate(LABELS)}
    entries = json.loads(path.read_text())
    for entry, label, wanted in zip(entries, LABELS[:6], masks(), strict=False):
        detection = coco.COCOObject.from_anno_dict(entry).to_detection(SIZE[::-1], classes, None, True)
        assert (detection.label, detection.confidence) == (label, entry["score"])
        x, y, w, h = Mask.encode(wanted).bbox
        assert np.array_equal(np.asarray(detection.mask, bool), wanted[y : y + h, x : x + w])


def test_fiftyone_reads_yolo(input_image, tmp_path):
    program("fiftyone")
    yolo = importlib.import_module("fiftyone.utils.yolo")
    (tmp_path / "a.txt").write_text(to_yolo(make(input_image), parts="join"))
    read = yolo.load_yolo_annotations(str(tmp_path / "a.txt"), list(LABELS), label_type="polylines")
    assert [line.label for line in read.polylines] == list(LABELS[:6])


def test_supervision_reads_yolo(input_image, tmp_path):
    supervision = program("supervision")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "straße.txt").write_text(to_yolo(make(input_image), parts="join"))
    names = "".join(f"  {number}: {label}\n" for number, label in enumerate(LABELS))
    (tmp_path / "data.yaml").write_text(f"names:\n{names}", encoding="utf-8")
    data = supervision.DetectionDataset.from_yolo(
        str(Path(input_image).parent), str(tmp_path / "labels"), str(tmp_path / "data.yaml"), force_masks=True
    )
    ((_, _, found),) = list(data)
    assert found.class_id.tolist() == list(range(6))
    for number in (0, 2, 5):
        assert at_the_edge(found.mask[number], masks()[number])
    for painted, wanted in zip(found.mask, masks(), strict=False):
        assert (painted | ~wanted).all()


def test_cvat_reads_coco(input_image, tmp_path):
    """The results as the annotations of a data set, as CVAT and Datumaro import them."""
    datumaro = program("datumaro")
    data = annotations(input_image)
    entries = json.loads(save_coco([make(input_image)], tmp_path / "r.json", images=data, bbox=True).read_text())
    for number, entry in enumerate(entries, start=1):
        entry.update(id=number, iscrowd=1, area=float(entry["bbox"][2] * entry["bbox"][3]))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images" / "val").mkdir(parents=True)
    (tmp_path / "images" / "val" / Path(input_image).name).write_bytes(Path(input_image).read_bytes())
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps({**data, "annotations": entries}))
    (item,) = datumaro.Dataset.import_from(str(tmp_path), "coco_instances")
    found = sorted((one for one in item.annotations if hasattr(one, "image")), key=lambda one: one.id)
    for one, wanted in zip(found, masks(), strict=True):
        assert np.array_equal(np.asarray(one.image, bool), wanted)


def test_supervision(input_image):
    supervision = program("supervision")
    found = to_supervision(make(input_image))
    assert np.array_equal(found.mask, masks())
    assert found["class_name"].tolist() == list(LABELS)
    assert found[found.confidence > 0.5].class_id.tolist() == [0, 1, 2, 3]
    assert len(supervision.MaskAnnotator().annotate(np.zeros((*SIZE, 3), np.uint8), found)) == SIZE[0]
    nothing = to_supervision(make(input_image, count=0))
    assert len(nothing) == 0
    assert len(supervision.Detections.merge([found, nothing])) == 7


def test_pandas(input_image, tmp_path):
    pandas = program("pandas")
    table = to_pandas([make(input_image), make("scan.pdf", 2)])
    assert isinstance(table, pandas.DataFrame)
    assert table.groupby("label")["mask_area"].sum()["person"] == 2 * masks()[0].sum()
    assert table[table.page_index == 2].input_path.unique().tolist() == ["scan.pdf"]
    table.to_csv(tmp_path / "t.csv", index=False)
    assert pandas.read_csv(tmp_path / "t.csv")["page_index"].tolist()[7:] == [2] * 7
