"""The test image proves the postprocessing, too: it is asked at a threshold of 0, and the whole answer is checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskserve.errors import ToolError
from maskserve_tools.embedded import serve
from maskserve_tools.embedded.canary import SIZE, HttpEndpoint, canary_image, send_test_image
from maskserve_tools.embedded.served_entries import read_repository
from tests.tools.embedded.conftest import needs_triton

pytestmark = needs_triton

# In place of the adapter's: paints what is found at the threshold of 0, and finds nothing without one.
WHOLE = """
import numpy as np
import triton_python_backend_utils as pb_utils
from maskserve.masks import encode_crop

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(r, "THRESHOLD")) for r in requests]

    def answer(self, threshold):
        found = 0 if threshold is None or threshold.as_numpy()[0] > 0 else 2
        mask = encode_crop(np.ones((4, 5), np.uint8))
        columns = dict(
            BOXES=np.tile(np.array([1, 2, 6, 6], np.float32), (found, 1)), SCORES=np.full(found, 0.1, np.float32),
            LABELS=np.zeros(found, np.int32), MASKS=np.array([mask] * found, object),
            MASK_BOXES=np.tile(np.array([1, 2, 5, 4], np.int32), (found, 1)),
            IMAGE_SIZE=np.array([48, 64], np.int32),
        )
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, column) for name, column in columns.items()])
"""
SLIPS = {
    "the mask has another size": ("np.ones((4, 5)", "np.ones((4, 6)", "mask 0 is damaged"),
    "the mask is no run lengths": ("[mask] * found", "[b'~'] * found", "mask 0 is damaged"),
    "the mask leaves the image": ("np.array([1, 2, 5, 4]", "np.array([60, 2, 5, 4]", "mask 0 .* leaves the image"),
    "a score is missing": ("np.full(found", "np.full(max(found - 1, 0)", "2 masks but 1 SCORES"),
    "a score is no number": ("np.full(found, 0.1", "np.full(found, np.nan", "not finite"),
    "a label is negative": ("np.zeros(found", "np.full(found, -1", "negative class"),
    "another image": ("np.array([48, 64]", "np.array([64, 48]", "image"),
}


@pytest.fixture
def slip(demo_repository: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A repository with a model of our contract that has one fault."""
    import shutil

    def write(code: str) -> Path:
        repository = tmp_path / "models"
        shutil.copytree(demo_repository / "people-single", repository / "people-single")
        (repository / "people-single" / "1" / "model.py").write_text(code, encoding="utf-8")
        return repository

    return write


def test_a_whole_answer_is_fine(slip: Callable[[str], Path]) -> None:
    with serve(slip(WHOLE)) as server:
        assert server.models == ("people-single",)


@pytest.mark.parametrize("fault", SLIPS)
def test_a_fault_that_shows_only_where_something_is_found(slip: Callable[[str], Path], fault: str) -> None:
    right, wrong, said = SLIPS[fault]
    assert right in WHOLE
    with pytest.raises(ToolError, match=f"(?s)people-single is not served: it answers a test image wrongly: .*{said}"):
        serve(slip(WHOLE.replace(right, wrong)))


def test_the_demo_model_is_quick_at_it(demo_repository: Path) -> None:
    with serve(demo_repository, models=["people-single"]) as server:
        port = int(server.http_url.rpartition(":")[2])
        (entry,) = read_repository(demo_repository, ["people-single"])
        began = time.monotonic()
        send_test_image(HttpEndpoint("127.0.0.1", port), entry, timeout=20)
        assert time.monotonic() - began < 10


def test_the_test_image_is_a_gradient_of_colours() -> None:
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    expected = np.stack([rows * 5, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(canary_image(), np.uint8), cv2.IMREAD_COLOR), expected)
