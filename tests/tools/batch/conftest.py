"""Images in folders and tables, and a job whose server is never asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from maskserve_tools.batch.reading import Columns
from maskserve_tools.batch.segmenting import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "out").mkdir()
    return Job(
        folder=str(tmp_path / "out"),
        format="ndjson",
        columns=Columns(),
        pipeline="people",
        urls=("grpc://127.0.0.1:1",),
        model=None,
        threads=1,
        threshold=None,
        labels=None,
        concurrency=2,
        timeout=5.0,
    )


@pytest.fixture
def album(tmp_path: Path, demo_model: Path) -> Path:
    """Twelve images in two folders, one of them broken."""
    folder = tmp_path / "album"
    (folder / "deeper").mkdir(parents=True)
    originals = sorted((demo_model.parent / "photos").glob("*.jpg"))
    for number in range(11):
        shutil.copy(originals[number % len(originals)], folder / ("deeper" if number % 2 else "") / f"{number:02d}.jpg")
    (folder / "broken.jpg").write_text("no image")
    return folder


def row(name: str, error: str | None = None) -> dict[str, Any]:
    """A row of the output, of an image in which nothing was found."""
    found: list[Any] | None = [] if error is None else None
    return {"id": name, "path": name, "width": 8, "height": 6, "instances": found, "error": error}


def ndjson_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]
