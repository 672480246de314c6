"""The command as people run it: through Ray, with a real server, killed and run again. `make test-batch` runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from maskserve import create_pipeline
from maskserve_tools.bulk.keeper import keep_server
from maskserve_tools.bulk.loading import Photo
from maskserve_tools.bulk.writing import FORMATS, Row, row_for
from tests.conftest import DEMO
from tests.tools.batch.conftest import ndjson_rows

if TYPE_CHECKING:
    from maskserve_tools.serving import Server

KEEPER = "maskserve_tools.bulk.keeper"


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
    from maskserve._inputs import pictures

    found = list(pictures(str(album)))
    with create_pipeline(DEMO, url=url) as pipeline:
        outcomes = list(pipeline.predict(found, on_error="return"))
    photos = [Photo(str(picture.input_path), picture.input_path, picture) for picture in found]
    return {photo.id: row_for(photo, outcome) for photo, outcome in zip(photos, outcomes, strict=True)}


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
    assert len(rows) == 12
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


def test_a_server_that_is_not_there_ends_the_run(batch: Command, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, told = batch(album, "--to", out, "--url", "grpc://127.0.0.1:1").finished()
    assert status == 1
    assert "no server answers at grpc://127.0.0.1:1" in told
    assert "Traceback" not in told
    assert not list(out.glob("files-*"))


@pytest.mark.parametrize("end", ["in order", signal.SIGINT, signal.SIGKILL])
def test_an_embedded_server_ends_with_the_run(
    end: str | signal.Signals, batch: Command, album: Path, demo_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pytriton", reason="an embedded server needs nvidia-pytriton", exc_type=ImportError)
    pytest.importorskip("paddle2onnx", reason="converting needs paddle2onnx", exc_type=ImportError)
    out, model = tmp_path / "out", own_copy(demo_model, tmp_path)
    run = batch(album, "--to", out, "--format", "ndjson", "--embedded", model)
    seen: set[psutil.Process] = set()
    while run.process.poll() is None and not is_serving(seen):
        seen |= kept(model)
        time.sleep(0.05)
    if isinstance(end, signal.Signals):
        run.process.send_signal(end)
    status, told = run.finished()
    expected = {"in order": 1, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert status == expected[end], told
    assert end != "in order" or len(ndjson_rows(out)) == 12
    assert seen
    wait_until(lambda: not any(map(alive, seen)))


def test_a_server_is_kept_no_longer_than_its_owner_wants(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pytriton", reason="an embedded server needs nvidia-pytriton", exc_type=ImportError)
    pytest.importorskip("paddle2onnx", reason="converting needs paddle2onnx", exc_type=ImportError)
    model = own_copy(demo_model, tmp_path)
    monkeypatch.setenv("MASKSERVE_CACHE", str(tmp_path / "cache"))
    server = keep_server(str(model))
    try:
        with create_pipeline(server.model, url=server.url) as pipeline:
            assert pipeline.labels
        seen = kept(model)
        assert is_serving(seen)
    finally:
        server.close()
    wait_until(lambda: not any(map(alive, seen)))


def own_copy(model: Path, folder: Path) -> Path:
    """A copy of a model whose path no other test's processes have in their command lines."""
    return Path(shutil.copytree(model, folder / "copies" / "model"))


def kept(model: Path) -> set[psutil.Process]:
    """The keeper of a server with `model`, and the server itself as soon as it is there."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = process.cmdline()
            if KEEPER in line and str(model) in line:
                found |= {process, *process.children(recursive=True)}
    return found


def is_serving(processes: set[psutil.Process]) -> bool:
    """Whether a tritonserver is among them, and not only what converts the model for it."""
    names = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            names.add(process.name())
    return "tritonserver" in names


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert holds()
