"""Converting folders: good ones, bad ones, and the command line."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve.errors import ToolError
from maskserve_convert import container_cores, conversion, cores
from maskserve_convert.child import ChildFailed
from maskserve_convert.onnx.pipeline import PASSES
from maskserve_convert.paddle.folder import PaddleFolder, sha256
from maskserve_tools import cli, convert
from maskserve_tools.model_source import Kind, find_source
from tests.convert.conftest import needs_paddle


def _content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_what_is_no_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="not a folder"):
        convert(tmp_path / "nowhere", repository=tmp_path / "models")


@pytest.mark.parametrize("missing", ["inference.yml", "inference.pdiparams", "inference.json"])
def test_a_folder_that_lacks_a_file_is_told_which(missing: str, folder: Path, tmp_path: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(ToolError, match=f"not a Paddle inference folder: it has no {missing}"):
        convert(folder, repository=tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not valid YAML"),
        ("just words", "does not hold the settings"),
        ("Preprocess: [{type: Permute}]", "no label_list"),
        ("label_list: [a]", "no Preprocess"),
        ("{label_list: [a], Preprocess: [{type: Permute}]}", "resize and permute exactly once"),
    ],
)
def test_settings_that_cannot_be_used_are_named(text: str, words: str, folder: Path, tmp_path: Path) -> None:
    (folder / "inference.yml").write_text(text)
    with pytest.raises(ToolError, match=words):
        convert(folder, repository=tmp_path / "models")


def test_damaged_weights_are_found_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    weights = folder / "inference.pdiparams"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ToolError, match=r"inference\.pdiparams is cut short"):
        convert(folder, repository=tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["../up", "a b", "-x", ".hidden"])
def test_a_name_that_cannot_be_a_directory_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be a model's name"):
        convert(folder, repository=tmp_path / "models", name=name)


def test_unknown_choices_list_the_known_ones(folder: Path) -> None:
    with pytest.raises(ToolError, match="openvino, onnxruntime, paddle"):
        convert(folder, engine="tensorrt")
    with pytest.raises(ToolError, match="ensemble, single"):
        convert(folder, layout="double")
    with pytest.raises(ToolError, match="fp32, bf16, fp16, int8"):
        convert(folder, precision="int4")


@needs_paddle
def test_a_lower_precision_is_openvinos_and_the_cpus_matter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ToolError, match="onnxruntime computes in fp32 and int8 only"):
        convert(folder, repository=tmp_path / "models", engine="onnxruntime", precision="bf16")
    from maskserve_server.engines import openvino

    monkeypatch.setattr(openvino, "precisions", lambda: frozenset({"fp32"}))
    with pytest.raises(ToolError, match="this CPU does not compute in fp16, only in fp32"):
        convert(folder, repository=tmp_path / "models", precision="fp16")
    monkeypatch.setattr(openvino, "precisions", lambda: frozenset({"fp32", "bf16"}))
    made = convert(folder, repository=tmp_path / "models", name="m", layout="single", precision="bf16")
    assert made.engine == "openvino"
    assert json.loads((tmp_path / "models" / "m" / "1" / "model.json").read_text())["core"]["precision"] == "bf16"


def _unmeasured(content: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files without the queue, which is sized by a measurement."""
    left = dict(content)
    for path in [path for path in left if path.endswith("model.json")]:
        document = json.loads(left[path])
        queue = document.pop("queue")
        assert queue["seconds_per_image"] > 0
        assert 4 <= queue["size"] <= 256
        left[path] = json.dumps(document).encode()
    return left


@needs_paddle
def test_a_queue_of_one_s_own_size(folder: Path, tmp_path: Path) -> None:
    convert(folder, repository=tmp_path / "models", name="m", layout="single", queue=7)
    assert json.loads((tmp_path / "models" / "m" / "1" / "model.json").read_text())["queue"]["size"] == 7
    with pytest.raises(ToolError, match="queue=0"):
        convert(folder, repository=tmp_path / "models", name="m", queue=0)


@needs_paddle
def test_converting_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    first = convert(folder, repository=tmp_path / "models", name="m", report=lines.append)
    content = _unmeasured(_content(tmp_path / "models"))
    assert convert(folder, repository=tmp_path / "models", name="m") == first
    assert _unmeasured(_content(tmp_path / "models")) == content
    assert any("exporting" in line for line in lines)
    provenance = json.loads((tmp_path / "models" / "m" / "provenance.json").read_text())
    assert provenance["engine"]["name"] == first.engine == "openvino"
    assert len(provenance["source"]["sha256"]["inference.pdiparams"]) == 64
    (core,) = (tmp_path / "models" / "m.core" / "1").glob("*.onnx")
    assert provenance["core"]["sha256"] == {core.name: sha256(core)}
    assert [record["name"] for record in provenance["passes"]] == [step.name for step in PASSES]
    assert {record["found"] for record in provenance["passes"]} == {0}  # a small network of few channels
    assert "pairs of channels, too few to pay" in provenance["passes"][-1]["reasons"][0]
    assert "nothing to find: the core has no RoiAlign" in provenance["passes"][0]["reasons"]


def test_without_the_converters_it_is_said_how_to_get_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r'needs paddle2onnx: pip install "maskserve\[server,convert\]"'):
        convert(folder, repository=tmp_path / "models")
    assert not (tmp_path / "models").exists()


@needs_paddle
def test_a_failing_export_leaves_the_repository_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ToolError("Paddle2ONNX was ended by SIGABRT")

    monkeypatch.setattr(cores, "export", fail)
    with pytest.raises(ToolError, match=r"cannot be made for openvino: .*SIGABRT"):
        convert(folder, repository=tmp_path / "models", engine="openvino")
    assert not (tmp_path / "models").exists()


@needs_paddle
def test_without_an_export_paddle_itself_is_the_fallback(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ToolError("no mapper for pd_op.wonder")

    monkeypatch.setattr(cores, "export", fail)
    made = convert(folder, repository=tmp_path / "models", name="m", layout="single")
    assert made.engine == "paddle"
    assert "pd_op.wonder" in made.reason
    assert (tmp_path / "models" / "m" / "1" / "core.pdiparams").is_file()


@needs_paddle
def test_an_aborting_child_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    from maskserve_convert.child import ChildFailed, run_module

    with pytest.raises(ChildFailed, match="failed"):
        run_module("maskserve_convert.paddle.export", ["nothing.json", "nothing.pdiparams", str(tmp_path / "a.onnx")])


@needs_paddle
@pytest.mark.parametrize("name", ["Mask-RT-DETR-S.pdmodel", "PP-YOLOE_seg-S.pdmodel", "tiny-Mask-RT-DETR-320.v4"])
def test_older_and_newer_program_formats_convert(
    name: str, paddle_model: Callable[[str], Path], tmp_path: Path
) -> None:
    made = convert(paddle_model(name), repository=tmp_path / "models", name="m", layout="single")
    assert made.engine == "openvino"
    assert (tmp_path / "models" / "m" / "1" / "core.onnx").is_file()


def test_the_command_line_explains_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", str(tmp_path)]) == 1
    assert "maskserve: " in capsys.readouterr().err


def test_a_command_line_for_paddlex_is_a_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(b"")
    command = ["--pipeline", "people", "--input", str(image), "--url", "grpc://127.0.0.1:9"]
    assert cli.main(command) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([command.replace("_", "-"), "--help"])
        assert ended.value.code == 0
        assert "usage: maskserve" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "exact"),
    [
        ({}, True),
        ({"precision": "bf16"}, False),
        ({"target": "container-cpu"}, True),
        ({"target": "container-gpu"}, False),
    ],
    ids=str,
)
def test_a_core_is_told_whether_float32_is_true(
    choice: dict[str, Any], exact: bool, demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def make(*_: object, exact: bool) -> None:
        told.append(exact)
        raise ToolError("enough")

    monkeypatch.setattr(conversion, "make_core", make)
    monkeypatch.setattr(container_cores, "make_core", make)
    with pytest.raises(ToolError, match="enough"):
        convert(demo_model, repository=tmp_path / "models", **choice)
    assert told[0] is exact


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), ChildFailed("export failed: No space left on device")]
)
def test_a_full_disk_changes_no_engine(
    error: Exception, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cores._OnnxFile, "made", fail)
    said: list[str] = []
    with pytest.raises(ToolError, match=r"temporary files below .* No space left on device; make room there, .*TMPDIR"):
        convert(folder, repository=tmp_path / "models", report=said.append)
    assert not any("paddle" in line for line in said[1:])


def test_a_place_that_cannot_be_written_is_said_before_the_model_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    for where in (
        {"repository": tmp_path / "file"},
        {"bundle": tmp_path / "file" / "a.maskserve"},
        {"onnx": tmp_path / "file" / "onnx"},
    ):
        with pytest.raises(ToolError, match="cannot be written: "):
            convert(folder, report=said.append, **where)  # type: ignore[arg-type]
    assert said == []


@pytest.mark.parametrize("written", ["", "label_list: person", "label_list: []", "label_list: [1, [2]]"])
def test_a_file_of_labels_stands_in_for_a_list_that_is_wrong(written: str, folder: Path, tmp_path: Path) -> None:
    settings = folder / "inference.yml"
    content = yaml.safe_load(settings.read_text(encoding="utf-8"))
    names = content.pop("label_list")
    settings.write_text(yaml.safe_dump(content) + written + "\n", encoding="utf-8")
    with pytest.raises(ToolError, match="label_list"):
        PaddleFolder.open(folder)
    (tmp_path / "labels.txt").write_text("\n".join(names), encoding="utf-8")
    assert PaddleFolder.open(folder, labels=tmp_path / "labels.txt").labels == tuple(names)
    assert find_source(str(folder), labels=tmp_path / "labels.txt").kind is Kind.PADDLE
    assert find_source(str(folder), named=False).kind is Kind.PADDLE


@pytest.mark.parametrize("key", ["Preprocess", "label_list"])
@pytest.mark.parametrize("value", ["", "[]", "''", "{}"])
def test_what_is_there_but_empty_is_not_called_missing(key: str, value: str, folder: Path) -> None:
    settings = folder / "inference.yml"
    content = yaml.safe_load(settings.read_text(encoding="utf-8"))
    del content[key]
    settings.write_text(yaml.safe_dump(content) + f"{key}: {value}\n", encoding="utf-8")
    with pytest.raises(ToolError, match=f"{key} is empty"):
        PaddleFolder.open(folder)
