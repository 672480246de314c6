"""Which engine comes first, and what is said about it."""

from __future__ import annotations

import pytest

from maskserve_convert import engine_ranking as measured
from maskserve_convert.choices import ENGINES
from maskserve_convert.engine_ranking import MEASURED, Measurement, preference, reason
from maskserve_server.families import FAMILIES


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_was_measured_and_every_engine_has_its_place(family: str) -> None:
    assert set(preference(family)) == set(ENGINES) - {"auto"}
    assert preference(family)[-1] == "paddle"
    assert f"{MEASURED[family].uncut:,} ms" in reason(family, preference(family)[0])


def test_the_fastest_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"openvino": 30, "onnxruntime": 20}
    monkeypatch.setitem(measured.MEASURED, "mask_rcnn", Measurement("a model", times, 100))
    assert preference("mask_rcnn") == ("onnxruntime", "openvino", "paddle")
    assert "20 ms on onnxruntime, openvino 30 ms, uncut in PaddleX 100 ms" in reason("mask_rcnn", "onnxruntime")


@pytest.mark.parametrize(
    ("flags", "said"), [("fma avx512f", "has AVX512, too"), ("fma avx2", "(AVX2) is of another kind")]
)
def test_the_cpu_at_hand_is_named(flags: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "cpu_flags", lambda: frozenset(flags.split()))
    assert said in reason("solov2", "openvino")


def test_what_was_not_measured_is_said() -> None:
    assert "nothing was measured" in reason("mask_rcnn", "paddle")
    assert preference("another") == ("openvino", "onnxruntime", "paddle")
