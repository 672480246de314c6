"""What Label Studio, CVAT and FiftyOne make of masks, in the environment that test_readers.py tells of."""

import importlib

import numpy as np
import pytest
from PIL import Image
from tests.client.test_readers import LABELS, SIZE, make, masks, program

from maskserve.exports import fiftyone_model, to_fiftyone, to_label_studio
from maskserve.exports.label_studio import Form
from maskserve.masks import Mask

pytestmark = pytest.mark.filterwarnings("default")  # what other programs warn of is theirs


def test_fiftyone_detections():
    program("fiftyone")
    found = to_fiftyone(make(None)).detections
    assert [(one.label, one.class_id) for one in found] == list(zip(LABELS, range(7), strict=True))
    assert [one.confidence for one in found] == pytest.approx(np.linspace(0.9, 0.3, 7))
    for detection, wanted in zip(found, masks()[:6], strict=False):
        painted = detection.to_segmentation(frame_size=SIZE[::-1], target=255).mask
        assert np.array_equal(np.asarray(painted) > 0, wanted)
    assert found[6].mask is None, "an empty mask"


class Known:
    """What a model asks of a pipeline; the colours of an image decide how many instances there are."""

    def __init__(self):
        self.asked = []

    def segment(self, image, threshold=None):
        self.asked.append(threshold)
        blue, green, red = image[0, 0].tolist()
        assert (green, red) == (90, 10), "BGR"
        return make(None, count=blue)

    def predict(self, images, batch_size, threshold=None):
        self.asked.append(batch_size)
        return (self.segment(image, threshold) for image in images)


def test_fiftyone_model(tmp_path):
    """`apply_model` without a database: what it does for each sample of a data set."""
    fiftyone = program("fiftyone")
    models, utils = (importlib.import_module(f"fiftyone.core.{name}") for name in ("models", "utils"))
    read = importlib.import_module("fiftyone.utils.image").read
    known = Known()
    model = fiftyone_model(known)  # type: ignore[arg-type]
    assert isinstance(model, models.Model)
    assert model.media_type == "image"
    samples = []
    for blue in (2, 0, 3):
        path = tmp_path / f"{blue}.png"
        Image.new("RGB", SIZE[::-1], (10, 90, blue)).save(path)
        samples.append(fiftyone.Sample(filepath=str(path)))
    with model:
        samples[0]["predictions"] = model.predict(read(samples[0].filepath))
        with utils.SetAttributes(model.config, confidence_thresh=0.2):
            batch = model.predict_all([read(sample.filepath) for sample in samples[1:]])
    samples[1]["predictions"], samples[2]["predictions"] = batch
    assert [len(sample.predictions.detections) for sample in samples] == [2, 0, 3]
    assert known.asked == [None, 2, 0.2, 0.2]


TAGS: tuple[tuple[Form, str], ...] = (("brush", "BrushLabels"), ("polygon", "PolygonLabels"))


def test_label_studio():
    """Its own converter reads the masks, and its own checks let predictions pass."""
    program("label_studio_sdk")
    brush = importlib.import_module("label_studio_sdk.converter.brush")
    interface = importlib.import_module("label_studio_sdk.label_interface").LabelInterface
    labels = "".join(f'<Label value="{label}"/>' for label in LABELS)
    for form, tag in TAGS:
        config = f'<View><Image name="image" value="$i"/><{tag} name="label" toName="image">{labels}</{tag}></View>'
        prediction = to_label_studio(make(None), form=form, model_version="1")
        assert interface(config).validate_prediction(prediction, return_errors=True) == []
    regions = to_label_studio(make(None))["result"]
    assert [region["value"]["brushlabels"] for region in regions] == [[label] for label in LABELS[:6]]
    for region, wanted in zip(regions, masks(), strict=False):
        assert region["value"]["rle"] == brush.mask2rle(wanted.astype(np.uint8) * 255)[: len(region["value"]["rle"])]
        flat = {**region, **region["value"]}  # as its converter has them behind an export
        (painted,) = brush.decode_from_annotation("label", [flat]).values()
        assert np.array_equal(painted, wanted * 255)


def test_cvat_masks():
    masks_of_cvat = program("cvat_sdk.masks")
    from maskserve_tools.annotate.cvat import mask_points

    for wanted in masks()[:6]:
        points = mask_points(Mask.encode(wanted))
        painted = masks_of_cvat.decode_mask(points, image_width=SIZE[1], image_height=SIZE[0])
        assert np.array_equal(painted, wanted)
