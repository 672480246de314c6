"""The names of the classes from a file: read from any format, refused where they are none, served and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_convert.paddle.label_file import read_labels
from maskserve_tools import cli, convert
from tests.convert.conftest import needs_paddle
from tests.convert.written_settings import change

LABEL_FILES = {
    "lines.txt": "行人\ncafé 🙂\n",
    "lines of Windows.txt": "\ufeff行人\r\ncafé 🙂\r\n\r\n",
    "list.json": '["行人", "café 🙂"]',
    "map.json": '{"label_list": ["行人", "café 🙂"]}',
    "list.yml": "- 行人\n- café 🙂\n",
    "map.yaml": "label_list: [行人, café 🙂]\n",
}


@pytest.mark.parametrize(("name", "text"), LABEL_FILES.items(), ids=LABEL_FILES)
def test_labels_are_read_from_any_of_these(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_labels(tmp_path / name) == ("行人", "café 🙂")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "class 0 has no name"),
        ("a.txt", b"one\n\nthree\n", "class 1 has no name"),
        ("a.txt", "café".encode("latin-1"), "not UTF-8"),
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"[1, 2]", "class 0 is 1; it must be text"),
        ("a.json", b'{"a": 1}', "holds no list of class names"),
        ("a.json", b"[]", "holds no list"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'["\\ud800"]', "holds half of a character"),
        ("a.yml", b"a: [", "not valid YAML"),
        ("a.yml", b"a: 1", "holds no list"),
        ("a.yml", b"- [a]", "holds no list"),
    ],
)
def test_a_file_that_has_no_labels_is_said_so(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolError, match=words):
        read_labels(tmp_path / name)
    with pytest.raises(ToolError, match="cannot be read: No such file"):
        read_labels(tmp_path / "nowhere.txt")


def test_a_wrong_number_of_labels_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\n", encoding="utf-8")
    command = [
        "convert",
        str(folder),
        "--repository",
        str(tmp_path / "models"),
        "--labels",
        str(tmp_path / "labels.txt"),
    ]
    assert cli.main(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "labels.txt has 2 labels, but" in said
    assert "has 1 class: give one label for each class" in said
    assert not (tmp_path / "models").exists()


@needs_paddle
def test_labels_from_a_file_are_served_and_recorded(folder: Path, tmp_path: Path) -> None:
    from google.protobuf import text_format

    change(folder, label_list=["a", "b"])
    (tmp_path / "labels.txt").write_text("行人\n", encoding="utf-8")
    made = convert(
        folder,
        repository=tmp_path / "models",
        name="m",
        layout="single",
        labels=tmp_path / "labels.txt",
        engine="openvino",
    )
    assert made.warnings == ()
    entry = tmp_path / "models" / "m"
    assert json.loads((entry / "1" / "model.json").read_text(encoding="utf-8"))["labels"] == ["行人"]
    provenance = json.loads((entry / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["classes"] == 1
    assert (provenance["labels"]["count"], provenance["labels"]["file"]) == (1, "labels.txt")
    config = text_format.Parse((entry / "config.pbtxt").read_text(encoding="utf-8"), ModelConfig())
    assert config.parameters[contract.PARAMETER_CLASSES].string_value == "1"
