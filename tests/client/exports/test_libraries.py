"""Results as a table of pandas, and as detections of supervision."""

import pytest
from tests.client.exports.made_results import FAILED, SIZE, named

from maskserve import InvalidParameter
from maskserve.exports import to_pandas, to_supervision


def test_pandas(result, empty, caplog):
    pytest.importorskip("pandas", reason="pandas is an optional dependency")
    frame = to_pandas([result, FAILED, empty])
    assert frame["label"].tolist() == ["person", "car"]
    assert frame["mask_area"].tolist() == [400, 40]
    assert frame["x0"].tolist() == [10.25, 0.0]
    assert frame.attrs["failures"] == 1
    assert "1 of 3 images failed" in caplog.text
    assert list(to_pandas([]).columns) == list(frame.columns)
    pages = to_pandas([named("scan.pdf", page=2), named("a.png")])
    assert pages["page_index"].isna().tolist() == [False, True]
    assert pages["page_index"][0] == 2
    assert len(to_pandas(result)) == 2


def test_supervision(result, empty):
    pytest.importorskip("supervision", reason="supervision is an optional dependency")
    detections = to_supervision(result)
    assert len(detections) == 2
    assert detections.mask.shape == (2, *SIZE)
    assert detections.mask[0].sum() == 400
    assert detections.data["class_name"].tolist() == ["person", "car"]
    assert detections.data["index"].tolist() == [0, 1]
    assert len(to_supervision(empty)) == 0
    with pytest.raises(InvalidParameter, match="this image failed"):
        to_supervision(FAILED)  # type: ignore[arg-type]
