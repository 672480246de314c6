"""Serving writes nothing into the repository: a folder of bytecode in it would be a changed model, or not writable."""

from __future__ import annotations

from pathlib import Path

from maskserve_tools.embedded import serve
from tests.tools.embedded.conftest import SEGMENTER, Repository, needs_triton

pytestmark = needs_triton


def content(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_serving_writes_nothing_into_the_repository(repository: Repository) -> None:
    entry = repository.segmenter("a", "import beside\n" + SEGMENTER)
    (entry / "1" / "beside.py").write_text("", encoding="utf-8")
    before = content(repository.path)
    with serve(repository.path) as server:
        assert server.models == ("a",)
        server.reload()
    assert content(repository.path) == before
