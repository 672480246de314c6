"""The command as people run it: through Ray, with a real server, killed and run again. `make test-batch` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maskserve import create_pipeline
from maskserve_tools import convert
from maskserve_tools.batch.loading import ListedImage
from maskserve_tools.batch.writing import FORMATS, Row, row_for
from tests.conftest import DEMO
from tests.tools.batch.conftest import ndjson_rows
from tests.ugly_names import make_ugly_folder

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server


@dataclass(frozen=True)
class Run:
    """A process of the command, and the file that has its standard error."""

    process: subprocess.Popen[bytes]
    told: Path

    def finished(self) -> tuple[int, str]:
        return self.process.wait(timeout=300), self.told.read_text()


Command = Callable[..., Run]


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[Command]:
    """Starts `maskserve batch` in a process of its own, with a cache of its own."""
    for module in ("ray.data", "pyarrow"):
        pytest.importorskip(module, reason=f"`maskserve batch` needs {module}", exc_type=ImportError)
    search = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": search, "MASKSERVE_CACHE": str(tmp_path / "cache")}
    started: list[Run] = []

    def start(*arguments: object) -> Run:
        command = [sys.executable, "-W", "ignore", "-m", "maskserve_tools.cli", "batch", *map(str, arguments)]
        told = tmp_path / f"told-{len(started)}.txt"
        with told.open("w") as file:  # no pipe: what Ray leaves behind for a moment would keep it open
            started.append(Run(subprocess.Popen(command, env=environment, stderr=file), told))
        return started[-1]

    yield start
    for run in started:
        run.process.kill()
        run.process.wait()


def one_by_one(album: Path, url: str) -> dict[str, Row]:
    """The rows that the batch has to have, from the client alone."""
    from maskserve.inputs.sources import images

    found = list(images(str(album)))
    with create_pipeline(DEMO, url=url) as pipeline:
        outcomes = list(pipeline.predict(found, on_error="return"))
    listed = [ListedImage(str(image.input_path), image.input_path, image) for image in found]
    return {one.id: row_for(one, outcome) for one, outcome in zip(listed, outcomes, strict=True)}


def test_the_rows_are_those_of_the_client_and_a_broken_photo_is_one(
    batch: Command, album: Path, server: Server, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = (album, "--to", out, "--pipeline", DEMO, "--url", server.grpc_url, "--url", server.http_url)
    status, told = batch(*arguments, "--workers", 2).finished()
    assert status == 1, told
    kind = FORMATS["parquet"]
    rows = [row for path in out.glob("*.parquet") for row in kind.read(path)]
    assert {row["id"]: row for row in rows} == one_by_one(album, server.grpc_url)
    assert len(rows) == 12, told
    assert [Path(row["id"]).name for row in rows if row["error"]] == ["broken.jpg"]
    assert any(row["instances"] for row in rows)

    written = {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    (album / "broken.jpg").write_bytes((album / "00.jpg").read_bytes())
    status, told = batch(*arguments).finished()
    assert (status, "12 done before, 0 to do" in told) == (1, True), told
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")} == written

    status, told = batch(*arguments, "--retry-errors").finished()
    assert (status, "11 done before, 1 to do" in told) == (0, True), told
    rows = [row for path in out.glob("*.parquet") for row in kind.read(path)]
    assert {row["id"]: row for row in rows} == one_by_one(album, server.grpc_url)


def test_killed_in_the_middle_and_run_again_each_photo_has_one_row(
    batch: Command, album: Path, server: Server, tmp_path: Path
) -> None:
    for number in range(60):
        (album / f"more-{number}.jpg").write_bytes((album / "00.jpg").read_bytes())
    out = tmp_path / "out"
    arguments = (album, "--to", out, "--pipeline", DEMO, "--url", server.grpc_url, "--format", "ndjson")
    process = batch(*arguments).process
    while process.poll() is None and not list(out.glob("files-*.ndjson")):
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert 0 < len(ndjson_rows(out)) < 72
    status, told = batch(*arguments).finished()
    assert status == 1, told
    assert Counter(row["id"] for row in ndjson_rows(out)) == Counter(map(str, album.rglob("*.jpg")))


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_ugly_names_broken_files_and_a_file_that_cannot_be_saved(
    batch: Command, server: Server, two_people: Path, tmp_path: Path, kind: str
) -> None:
    ugly, out = make_ugly_folder(tmp_path / "ugly", two_people), tmp_path / "out"
    found, failing = ugly.good - 1 + ugly.broken, ugly.broken + 1  # a file of two pages has no row for each
    arguments = (ugly.path, "--to", out, "--pipeline", DEMO, "--url", server.grpc_url, "--format", kind)
    status, told = batch(*arguments).finished()
    assert status == 1, told
    assert f"has {found} of {found} images" in told
    assert f"{failing} with an error" in told
    written = sorted(out.glob("files-*"))
    rows = [row for path in written for row in FORMATS[kind].read(path)]
    assert len({row["id"] for row in rows}) == len(rows) == found
    assert sum(row["error"] is not None for row in rows) == failing
    assert all(row["instances"] for row in rows if row["error"] is None)

    lost = len(FORMATS[kind].read(written[0]))
    written[0].unlink()
    written[0].mkdir()
    status, told = batch(*arguments).finished()
    assert status == 1, told
    assert f"{written[0].name} cannot be written: Is a directory; its {lost} images are not done" in told
    assert f"has {found - lost} of {found} images" in told
    assert f"{lost} not saved" in told
    assert "Traceback" not in told
    written[0].rmdir()
    status, told = batch(*arguments).finished()
    assert f"has {found} of {found} images" in told
    assert status == 1


def test_a_server_that_is_not_there_ends_the_run(batch: Command, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, told = batch(album, "--to", out, "--url", "grpc://127.0.0.1:1").finished()
    assert status == 1
    assert "no server answers at grpc://127.0.0.1:1" in told
    assert "Traceback" not in told
    assert not list(out.glob("files-*"))


def test_the_workers_have_the_model_themselves(batch: Command, album: Path, demo_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("paddle2onnx", reason="converting needs paddle2onnx", exc_type=ImportError)
    bundle = tmp_path / "people.maskserve"
    convert(demo_model, bundle=bundle)
    out = tmp_path / "out"
    status, told = batch(album, "--to", out, "--format", "ndjson", "--model", bundle, "--workers", "2").finished()
    assert status == 1, told  # the album has an image that is none
    rows = {row["path"]: row for row in ndjson_rows(out)}
    assert len(rows) == 12, told
    with create_pipeline(bundle) as pipeline:
        path = next(path for path, row in rows.items() if row["error"] is None)
        assert len(rows[path]["instances"]) == len(pipeline.segment(path).instances)
