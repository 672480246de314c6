"""No JPEG file reaches OpenCV's decoder: up to 4.11 a crafted one writes outside of its memory (CVE-2025-53644)."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import cv2
import numpy as np
import pytest
from tests.client.conftest import FakeTransport, make_answer
from tests.conftest import ROOT
from tests.server.jpegs import ARITHMETIC, KINDS, THREE_TO_ONE, encoded

from maskserve.decoding.decode import decode
from maskserve.errors import InvalidImage, MaskserveError
from maskserve.inputs.decoding import decode_bgr
from maskserve.inputs.image import InputImage
from maskserve.pipeline import Pipeline
from maskserve_gateway.envelope import success

JPEG = b"\xff\xd8\xff"
# The only calls of OpenCV's decoders in what strangers' files pass through: of formats that are not JPEG, and of a BMP
# file of our own. `verify` reads the images of whoever calls it, as Paddle does: with OpenCV.
CALLS = {
    "client/maskserve/inputs/decoding.py": 1,
    "client/maskserve/inputs/image.py": 1,
    "tools/maskserve_tools/verify/verification.py": 1,
}


@pytest.fixture(autouse=True)
def no_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let OpenCV refuse JPEG files as a test's failure."""
    original: Callable[..., Any] = cv2.imdecode

    def watched(buffer: Any, *rest: Any) -> Any:
        if bytes(np.asarray(buffer).reshape(-1)[:3]) == JPEG:
            pytest.fail("a JPEG file was given to cv2.imdecode")
        return original(buffer, *rest)

    monkeypatch.setattr(cv2, "imdecode", watched)


FILES = {
    **{name: make() for name, make in KINDS.items()},
    "3x1": THREE_TO_ONE,
    "arithmetic": ARITHMETIC,
    "without its end": encoded()[:-2],
    "cut": encoded()[:1500],
    "two components": encoded().replace(b"\xff\xc0\0\x11\x08\0x\0\xb0\x03", b"\xff\xc0\0\x11\x08\0x\0\xb0\x02"),
    "twelve bits": encoded().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "lossless": encoded().replace(b"\xff\xc0", b"\xff\xc3"),
    "no tables": encoded().replace(b"\xff\xc4", b"\xff\xfe"),
    "nothing but a head": JPEG,
}


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_no_jpeg_is_given_to_opencv(file: bytes) -> None:
    for read in (decode, lambda content: InputImage(partial(bytes, content)).bgr()):
        try:
            assert read(file).dtype == np.uint8
        except MaskserveError as error:
            assert isinstance(error, InvalidImage)


def test_what_decodes_with_opencv_refuses_jpeg() -> None:
    with pytest.raises(ValueError, match="JPEG"):
        decode_bgr(encoded())


def test_the_gateway_draws_on_a_jpeg_without_opencv() -> None:
    transport = FakeTransport()
    transport.respond = lambda _: make_answer([(2, 0.9, (0.0, 0.0, 176.0, 120.0))], (120, 176))
    (result,) = Pipeline("tiny", cast(Any, transport)).predict(encoded())
    assert b'"image"' in success("id", result, visualize=True)


def test_nothing_else_calls_the_decoders_of_opencv() -> None:
    found = {}
    for package in ("client", "server", "gateway", "tools", "docker"):
        for module in sorted((ROOT / package).rglob("*.py")):
            nodes = ast.walk(ast.parse(module.read_text("utf-8")))
            names = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
            if count := sum(name.startswith(("imdecode", "imread")) for name in names):
                found[str(module.relative_to(ROOT))] = count
    assert found == CALLS
