"""The export with C++ alone, beside Paddle2ONNX's public function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_convert.child import ChildFailed, run_module
from maskserve_convert.paddle import export as module
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.paddle.program import Program
from maskserve_convert.recognised import RecognisedModel
from tests.packages import need

BARE, PUBLIC = "maskserve_convert.paddle.bare_export", "maskserve_convert.paddle.export"


def test_the_same_bytes_as_from_the_public_function(demo_model: Path, tmp_path: Path) -> None:
    need("paddle2onnx", reason="exporting needs the convert extra")
    folder = PaddleFolder.open(demo_model)
    recognised = RecognisedModel.recognise(folder, "model", Program.read(folder.program))
    core = [str(path) for path in recognised.write_subgraph(tmp_path)]
    for name in (BARE, PUBLIC):
        run_module(name, [*core, str(tmp_path / name)])
    assert (tmp_path / BARE).read_bytes() == (tmp_path / PUBLIC).read_bytes() != b""


@pytest.mark.parametrize("name", [BARE, PUBLIC])
def test_a_program_that_is_not_there_is_an_error(name: str, tmp_path: Path) -> None:
    need("paddle2onnx", reason="exporting needs the convert extra")
    with pytest.raises(ChildFailed):
        run_module(name, ["nothing.json", "nothing.pdiparams", str(tmp_path / "a.onnx")])


class Children:
    """Runs no child: the first module writes half a file and dies, the second does as it is told."""

    def __init__(self, content: bytes | None) -> None:
        self._content = content
        self.ran: list[str] = []

    def __call__(self, name: str, arguments: Sequence[str]) -> str:
        self.ran.append(name)
        target = Path(arguments[2])
        if name == BARE:
            target.write_bytes(b"half")
            raise ChildFailed("it was ended by SIGSEGV", -11)
        if self._content is None:
            raise ChildFailed("no mapper for pd_op.wonder", 1)
        assert not target.exists()
        target.write_bytes(self._content)
        return ""


def test_the_public_function_is_asked_where_the_bare_one_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children = Children(b"whole")
    monkeypatch.setattr(module, "run_module", children)
    module.export(Path("core.json"), Path("core.pdiparams"), tmp_path / "core.onnx")
    assert children.ran == [BARE, PUBLIC]
    assert (tmp_path / "core.onnx").read_bytes() == b"whole"


@pytest.mark.parametrize(("content", "words"), [(None, "no mapper for pd_op.wonder"), (b"", "wrote no model")])
def test_the_public_function_says_why_not(
    content: bytes | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_module", Children(content))
    with pytest.raises(ToolError, match=words):
        module.export(Path("core.json"), Path("core.pdiparams"), tmp_path / "core.onnx")
    assert not (tmp_path / "core.onnx").is_file() or content == b""
