"""`convert --precision int8`: what it asks for, what it writes, and, where NNCF is installed, what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from maskserve import create_pipeline
from maskserve.errors import ToolError
from maskserve_convert import checked_choices, cores
from maskserve_convert.int8 import process, quantising
from maskserve_convert.int8.calibration import Calibration
from maskserve_convert.int8.quantising import Agreement, Quantised
from maskserve_convert.triton.targets import containers
from maskserve_server.cpus import DOT_PRODUCTS, cpu_flags
from maskserve_server.spec import ModelSpec
from maskserve_tools import convert, extras
from maskserve_tools.cli import main
from tests.conftest import ROOT
from tests.convert.conftest import needs_paddle

PHOTOS = ROOT / "demo" / "photos"
IMAGES = [PHOTOS / f"{name}.jpg" for name in ("astronaut", "camera", "grace_hopper")]
needs_nncf = pytest.mark.skipif(
    find_spec("nncf") is None or not all(map(cores.find_spec, ("paddle2onnx", "openvino"))),
    reason="converting needs nncf here, which the development environment leaves out for its 210 MB: `make int8`",
)


def test_without_nncf_a_sentence_names_the_extra(
    demo_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (cores, extras):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == "nncf" else object())
    assert main(["convert", str(demo_model), "--precision", "int8", "--calibration", str(PHOTOS)]) == 1
    said = capsys.readouterr().err
    assert said.startswith('maskserve: maskserve convert needs nncf: pip install "maskserve[convert,int8,server]"')
    assert len(said.splitlines()) == 1


@pytest.fixture
def nncf_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_choices, "need", lambda *_: None)


@pytest.mark.usefixtures("nncf_is_there")
@pytest.mark.parametrize(("path", "said"), [("nowhere", "there is no .*nowhere"), ("empty", "there are no images in")])
def test_images_that_are_not_there(demo_model: Path, tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ToolError, match=said):
        convert(demo_model, repository=tmp_path / "models", precision="int8", calibration=tmp_path / path)
    assert not (tmp_path / "models").exists()


@pytest.fixture
def quantised(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Nothing is quantised; of 10 instances so many are found again."""

    def agree(again: int) -> None:
        def leave(directory: Path, batched: bool, calibration: Calibration, report: Any) -> Quantised:
            assert (directory / "core.onnx").is_file() and ModelSpec.read(directory).core.precision == "int8"
            return Quantised(calibration, Agreement(3, 0.5, 10, again, 0, 0.01), quantised=7, tail=9, narrow=False)

        monkeypatch.setattr(cores, "quantise", leave)

    return agree


@needs_paddle
@pytest.mark.usefixtures("nncf_is_there")
def test_what_is_written(demo_model: Path, tmp_path: Path, quantised: Callable[[int], None]) -> None:
    quantised(10)
    lines = list[str]()
    made = convert(demo_model, repository=tmp_path, name="m", precision="int8", calibration=IMAGES, seed=5,
                   layout="single", report=lines.append)  # fmt: skip
    assert (made.engine, made.warnings) == ("openvino", ()) and not [line for line in lines if "warning" in line]
    assert ModelSpec.read(tmp_path / "m" / "1").core.precision == "int8"
    record = json.loads((tmp_path / "m" / "provenance.json").read_text(encoding="utf-8"))
    images = record["int8"]["images"]
    assert (images["seed"], images["found"], len(images["sha256"]), record["int8"]["quantised"]) == (5, 3, 3, 7)
    assert images["sha256"] == sorted(images["sha256"]) and record["engine"]["precision"] == "int8"
    winograd = next(found for found in record["passes"] if "winograd_conv" in found.values())
    assert "not run" in json.dumps(winograd)


@needs_paddle
@pytest.mark.usefixtures("nncf_is_there")
def test_a_model_that_does_not_survive_is_said_to(
    demo_model: Path, tmp_path: Path, quantised: Callable[[int], None]
) -> None:
    quantised(2)
    lines = list[str]()
    made = convert(demo_model, repository=tmp_path, precision="int8", calibration=PHOTOS, report=lines.append)
    (warning,) = made.warnings
    assert "does not survive int8: of 10 instances" in warning and f"warning: {warning}" in lines


@needs_paddle
def test_why_it_cannot_be_quantised_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the process that did not end well, with the last lines that it printed."""
    answer = f"{quantising.RESULT_LINE}{json.dumps({'why': 'calibrate on other images'})}"
    monkeypatch.setattr(quantising, "run_module", lambda *_, **__: f"{answer}\n")
    with pytest.raises(ToolError, match=r"^calibrate on other images$"):
        quantising.quantise(tmp_path, True, Calibration((tmp_path / "a.jpg",), 0, 1), lambda _: None)


@pytest.mark.usefixtures("nncf_is_there")
def test_for_a_container(demo_model: Path, tmp_path: Path, quantised: Callable[[int], None]) -> None:
    quantised(10)
    convert(demo_model, repository=tmp_path, name="m", precision="int8", calibration=IMAGES, target="container-cpu")
    text = (tmp_path / "m.core" / "config.pbtxt").read_text(encoding="utf-8")
    assert text_format.Parse(text, schema.ModelConfig()).backend == "onnxruntime"
    assert ModelSpec.read(tmp_path / "m.preprocess" / "1").core.precision == "int8"


@pytest.mark.parametrize(("flags", "narrow"), [({"avx2"}, True), (set(), True), ({"avx2", "avx_vnni"}, False)])
def test_weights_are_narrow_where_sums_may_overflow(
    flags: set[str], narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "cpu_flags", lambda: frozenset(flags))
    assert process.is_narrow() == narrow


@pytest.mark.parametrize("narrow", [True, False])
def test_the_record_and_the_report_say_how_wide_weights_are(
    narrow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreement = {"images": 1, "threshold": 0.5, "expected": 2, "again": 2, "new": 0, "score": 0.01}
    result = json.dumps({"agreement": agreement, "quantised": 7, "tail": 9, "narrow": narrow})
    monkeypatch.setattr(quantising, "run_module", lambda *_, **__: f"{quantising.RESULT_LINE}{result}\n")
    lines, image = list[str](), tmp_path / "a.jpg"
    image.write_bytes(b"image")
    made = quantising.quantise(tmp_path, True, Calibration((image,), 0, 1), lines.append)
    assert made.record()["weights"] == ("7 bits" if narrow else "8 bits")
    assert any("weights have 7 bits" in line for line in lines) == narrow


def test_the_containers_that_have_it() -> None:
    found = [made.backend for made in containers("container-cpu", "auto", "int8", "ensemble")]
    assert found == ["onnxruntime", "openvino"]


@needs_nncf
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_demo_model_in_int8(demo_model: Path, tmp_path: Path, engine: str) -> None:
    """The three people are found where fp32 finds them, by a core whose convolutions read 8-bit integers."""
    import onnx
    from onnx import numpy_helper

    lines = list[str]()
    bundles = {name: tmp_path / f"{name}.maskserve" for name in ("fp32", "int8")}
    convert(demo_model, bundle=bundles["fp32"], engine=engine)
    made = convert(demo_model, repository=tmp_path, name="m", engine=engine, precision="int8", calibration=IMAGES,
                   layout="single", report=lines.append)  # fmt: skip
    assert not made.warnings and any("int8 finds 3 again" in line for line in lines), lines
    assert any("3 of 3 images seen" in line for line in lines)
    graph = onnx.load(str(tmp_path / "m" / "1" / "core.onnx")).graph
    kinds = [node.op_type for node in graph.node]
    read = {value for node in graph.node if node.op_type == "DequantizeLinear" for value in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert all(not read.isdisjoint(node.input) for node in convolutions) and len(convolutions) > 50
    assert not any(not read.isdisjoint(node.input) for node in graph.node if node.op_type in ("Less", "TopK", "Sub"))
    widest = max(abs(kernel.astype(int)).max() for kernel in map(numpy_helper.to_array, graph.initializer)
                 if kernel.dtype == np.int8 and kernel.ndim == 4 and kernel.shape[1] > 1)  # fmt: skip
    narrow = not DOT_PRODUCTS & cpu_flags()
    assert widest <= (64 if narrow else 128) and widest > (48 if narrow else 100), "sums of products overflow"
    assert kinds.count("Clip") < (10 if engine == "onnxruntime" else 25)  # of 53
    with create_pipeline(bundles["fp32"]) as exact, create_pipeline(tmp_path / "m") as fast:
        for before, after in zip(exact.predict(IMAGES), fast.predict(IMAGES), strict=True):
            (one,), (other, *more) = before.instances, after.instances
            assert len(more) <= 1  # ranges that were measured on three images are rough
            assert abs(one.score - other.score) < 0.1
            common = (one.mask.decode() & other.mask.decode()).sum()
            assert common / (one.mask.decode() | other.mask.decode()).sum() > 0.93
