"""Messages stay short, whatever is in them."""

from __future__ import annotations

import pytest
from tests.client.conftest import FakeTransport

from maskserve.errors import MAX_MESSAGE, InvalidParameter, MaskserveError, ModelNotFound, listed
from maskserve.pipeline import Pipeline
from maskserve.transport.base import ServedModel
from maskserve.transport.errors import missing_model
from maskserve_server.postprocess import selection


def test_a_long_message_loses_its_middle() -> None:
    message = MaskserveError("begin " + "x" * 1_000_000 + " end").message
    assert message.startswith("begin x")
    assert message.endswith("x end")
    assert "[996010 characters left out]" in message
    assert len(message) < MAX_MESSAGE + 50
    assert MaskserveError("x" * MAX_MESSAGE).message == "x" * MAX_MESSAGE


def test_a_list_names_some() -> None:
    assert listed(range(3), 3) == "0, 1, 2"
    assert listed(range(3000), 3) == "0, 1, 2 and 2997 more"
    assert listed([], 3) == ""


def test_three_thousand_class_ids() -> None:
    with pytest.raises(InvalidParameter) as caught:
        selection(None, range(80, 3080), default=0.5, classes=80)
    words = "class ids [80, 81, 82, 83, 84, 85, 86, 87, 88, 89 and 2990 more] do not exist; the model has 0 to 79"
    assert caught.value.message == words


def test_three_thousand_models() -> None:
    transport = FakeTransport()
    transport.served = [ServedModel(f"m{k:04}", "READY") for k in range(3000)]
    error = missing_model("nope", transport)
    assert error.message.endswith("m0009 and 2990 more")
    with pytest.raises(ModelNotFound, match=r"m0009 and 2990 more; name one of them"):
        _ = Pipeline("instance_segmentation", transport).model
