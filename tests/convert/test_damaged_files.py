"""A damaged file is reported once, as one, before any engine is tried; what an engine raises is its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_convert import cores
from maskserve_convert.child import ChildFailed, run_module
from maskserve_convert.paddle.damage import DamagedFile
from maskserve_tools import convert
from tests.convert.conftest import needs_paddle

Damage = Callable[[bytes], bytes]


def _edited(change: Callable[[dict[str, Any]], None]) -> Damage:
    """A program that is JSON, but not what a program should be."""

    def damage(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return damage


def _block(document: dict[str, Any]) -> dict[str, Any]:
    block: dict[str, Any] = document["program"]["regions"][0]["blocks"][0]
    return block


def _without_parameters(document: dict[str, Any]) -> None:
    _block(document)["ops"] = [op for op in _block(document)["ops"] if op["#"] != "p"]


def _without_inputs(document: dict[str, Any]) -> None:
    _block(document)["ops"] = []


def _words_for_operators(document: dict[str, Any]) -> None:
    _block(document)["ops"] = ["relu", "conv"]


def _operators_without_results(document: dict[str, Any]) -> None:
    for op in _block(document)["ops"]:
        op.pop("O", None)


PROGRAMS: dict[str, tuple[Damage, str]] = {
    "empty": (lambda data: b"", "is empty"),
    "zeros": (lambda data: b"\0" * 1000, "is damaged, or not a Paddle program"),
    "cut short": (lambda data: data[: len(data) // 2], "is damaged, or not a Paddle program"),
    "not UTF-8": (lambda data: b"\xff\xfe" + data, "is damaged, or not a Paddle program"),
    "nested without end": (lambda data: b"[" * 100_000, "is damaged, or not a Paddle program"),
    "another document": (lambda data: b'{"base_code": {"version": 1}, "program": []}', "is damaged, or not a"),
    "no parameters": (_edited(_without_parameters), r"its operator \d+ \(\w+\) reads what no operator makes"),
    "no operators": (_edited(_without_inputs), "its program has no inputs or no results"),
    "words": (_edited(_words_for_operators), "one of its operators is not one"),
    "no results": (_edited(_operators_without_results), "is not one"),
}
WEIGHTS: dict[str, tuple[Damage, str]] = {
    "empty": (lambda data: b"", "is cut short or of another export"),
    "zeros": (lambda data: b"\0" * len(data), "is damaged, or not a parameter file"),
    "cut short": (lambda data: data[:-100], "is cut short or damaged: it ends inside"),
    "cut at its beginning": (lambda data: data[:10], "is cut short or damaged"),
    "something else": (lambda data: b"PK\3\4" + data, "is damaged, or not a parameter file"),
    "too long": (lambda data: data + b"\0" * 8, "holds more tensors than the program has parameters"),
}


def _refused(folder: Path, tmp_path: Path, words: str) -> None:
    lines: list[str] = []
    with pytest.raises(DamagedFile, match=words) as refused:
        convert(folder, repository=tmp_path / "models", report=lines.append)
    assert not any(engine in refused.value.message for engine in ("openvino", "onnxruntime", "no engine"))
    assert not any("cannot run it" in line for line in lines)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_damaged_program_is_reported_once(kind: str, folder: Path, tmp_path: Path) -> None:
    damage, words = PROGRAMS[kind]
    path = folder / "inference.json"
    path.write_bytes(damage(path.read_bytes()))
    _refused(folder, tmp_path, r"inference\.json .*" + words)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_damaged_weights_are_reported_once(kind: str, folder: Path, tmp_path: Path) -> None:
    damage, words = WEIGHTS[kind]
    path = folder / "inference.pdiparams"
    path.write_bytes(damage(path.read_bytes()))
    _refused(folder, tmp_path, r"inference\.pdiparams " + words)


def test_weights_of_another_export_are_told_by_their_shapes(folder: Path, tmp_path: Path) -> None:
    def widen(document: dict[str, Any]) -> None:
        parameter = next(op for op in _block(document)["ops"] if op["#"] == "p")
        parameter["O"]["TT"]["D"][1][0] += 1

    path = folder / "inference.json"
    path.write_bytes(_edited(widen)(path.read_bytes()))
    _refused(folder, tmp_path, r"inference\.pdiparams is of another export: the program's .* has the shape")


@pytest.mark.parametrize("damage", ["no image", "no operators", "no shapes"])
def test_a_program_that_cannot_be_read_is_a_sentence(damage: str, folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "inference.json").read_text(encoding="utf-8"))
    (block,) = document["program"]["regions"][0]["blocks"]
    feeds = [op for op in block["ops"] if op["#"] == "1.data"]
    names = {attribute["AT"]["D"]: attribute["AT"] for op in feeds for attribute in op["A"] if attribute["N"] == "name"}
    if damage == "no image":
        names["image"]["D"] = "x"
    elif damage == "no operators":
        block["ops"] = block["ops"][::40]
    else:
        for op in block["ops"][300:400]:
            op["O"] = [{"%": item["%"]} for item in op["O"]] if isinstance(op["O"], list) else {}
    (folder / "inference.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ToolError, match=r"inference\.json|this program") as raised:
        convert(folder, repository=tmp_path / "models")
    assert "\n" not in raised.value.message


@needs_paddle
@pytest.mark.parametrize("data", [b"", b"\0" * 500, b"no program at all, but text", b"PK\3\4" * 50])
def test_a_pdmodel_that_is_none_is_reported_once(data: bytes, folder: Path, tmp_path: Path) -> None:
    (folder / "inference.json").unlink()
    (folder / "inference.pdmodel").write_bytes(data)
    _refused(folder, tmp_path, r"inference\.pdmodel is (empty|damaged, or not a Paddle program)")


@needs_paddle
def test_whatever_an_engine_raises_moves_auto_on_with_its_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A raw error of the onnx package was a traceback, and none of a ToolError's kind moved on."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError("Unrecognized attribute: axes for operator ReduceMin")

    monkeypatch.setattr(cores, "rewrite", fail)
    lines: list[str] = []
    made = convert(folder, repository=tmp_path / "models", name="m", layout="single", report=lines.append)
    assert made.engine == "paddle"
    assert "openvino cannot run it: ValueError / Unrecognized attribute: axes" in made.reason
    assert "onnxruntime cannot run it: it takes ONNX, too" in made.reason
    assert sum("Unrecognized attribute" in line for line in lines) == 1
    assert lines.count("exporting the core to ONNX") == 1
    provenance = json.loads((tmp_path / "models" / "m" / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["engine"]["why"] == made.reason


@needs_paddle
def test_an_engine_that_was_asked_for_fails_with_its_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("first line\n\nsecond line " + "x" * 2000)

    monkeypatch.setattr(cores, "check_core", fail)
    with pytest.raises(ToolError, match="cannot be made for openvino: RuntimeError / first line / second") as refused:
        convert(folder, repository=tmp_path / "models", engine="openvino")
    assert len(refused.value.message) < 600


def test_a_child_that_is_aborted_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aborting.py").write_text("import os\nprint('caf\\xe9'.encode('latin-1'))\nos.abort()\n")
    (tmp_path / "raising.py").write_text("def f():\n    raise ValueError('the cause')\nf()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ChildFailed, match="aborting was ended by SIGABRT") as aborted:
        run_module("aborting", [])
    assert aborted.value.exit_status == -6
    with pytest.raises(ChildFailed) as raised:
        run_module("raising", [])
    assert raised.value.message == "raising failed (exit status 1): ValueError: the cause"
