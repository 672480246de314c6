"""Opening an int8 model on a processor that overflows with 8-bit weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.entries import TensorType
from maskserve_local import sources
from maskserve_server.bundle import write_bundle
from maskserve_server.spec import ModelSpec

CUT = {"detections": TensorType("FP32", (1, 20, 6)), "mask_logits": TensorType("FP32", (1, 20, 8, 8))}
OLD = {"avx2", "fma"}


def write(folder: Path, spec: ModelSpec, kind: str, record: Any, precision: str = "int8") -> Path:
    """Write a model in a precision, as a bundle or an entry, with this record of its quantisation."""
    core, spec = folder / "core.onnx", replace(spec, core=replace(spec.core, precision=precision))
    core.write_bytes(b"core")
    provenance = json.dumps({} if record is None else {"int8": record})
    if kind == "bundle":
        write_bundle(folder / "m.maskserve", spec, {"core.onnx": core}, provenance)
        return folder / "m.maskserve"
    built = entries.build(spec, CUT, [core], layout=kind, provenance=provenance)
    repository.write(folder / "models", spec.name, built)
    return folder / "models" / spec.name


@pytest.mark.parametrize("kind", ["bundle", "single", "ensemble"])
@pytest.mark.parametrize(
    ("record", "precision", "flags", "warned"),
    [
        ({"weights": "8 bits"}, "int8", OLD, True),
        ({"quantised": 70}, "int8", OLD, True),  # of a release that wrote 8 bits everywhere
        (None, "int8", OLD, True),
        ("damaged", "int8", OLD, True),
        ({"weights": "7 bits"}, "int8", OLD, False),
        ({"weights": "8 bits"}, "int8", OLD | {"avx512_vnni"}, False),
        ({"weights": "8 bits"}, "int8", {"asimddp"}, False),
        ({"weights": "8 bits"}, "int8", set(), False),  # a system that does not tell
        (None, "fp32", OLD, False),
    ],
)
def test_who_opens_8_bit_weights_without_vnni_is_warned(
    kind: str,
    record: Any,
    precision: str,
    flags: set[str],
    warned: bool,
    *,
    spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sources, "cpu_flags", lambda: frozenset(flags))
    sources.open_source(write(tmp_path, spec, kind, record, precision))
    assert ("boxes and scores are less exact" in caplog.text) == warned
