"""`maskserve predict` in a process of its own, with a real server, on a folder of ugly names and broken files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from maskserve.saving.drawn import is_drawn
from maskserve.text import printable
from tests.conftest import DEMO
from tests.ugly_names import BYTES, PAGES, UglyFolder, make_ugly_folder

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server


@pytest.fixture(scope="module")
def ugly(two_people: Path, tmp_path_factory: pytest.TempPathFactory) -> UglyFolder:
    return make_ugly_folder(tmp_path_factory.mktemp("ugly") / "photos", two_people)


@pytest.fixture
def command(server: Server, ugly: UglyFolder) -> list[str]:
    program = [sys.executable, "-W", "ignore", "-m", "maskserve_tools.cli", "predict"]
    return [*program, "--pipeline", DEMO, "--url", server.grpc_url, "--input", str(ugly.path)]


def run(
    command: list[str], stdout: int | IO[bytes] = subprocess.PIPE, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    search = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": search, **(env or {})}
    done = subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, timeout=300, check=False)
    assert b"Traceback" not in done.stderr
    return done


def sources(folder: Path) -> list[str]:
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("*.json")]
    assert all(document["boxes"] for document in documents)
    return sorted(document["input_path"] for document in documents)


@pytest.mark.parametrize("generation", ["3.0b2", "3.x"])
def test_all_that_can_be_done_is_done(command: list[str], ugly: UglyFolder, tmp_path: Path, generation: str) -> None:
    out = tmp_path / "out"
    options = ["--save_path", str(out), "--generation", generation]
    done = run([*command, *options])
    told = done.stderr.decode()
    assert done.returncode == 1
    assert told.endswith(
        f"maskserve: {ugly.good} of {ugly.good + ugly.broken} images are done, {ugly.broken} could not be segmented\n"
    )
    assert told.count("\n") == ugly.broken + 1
    assert len(done.stdout.decode().splitlines()) == ugly.good
    found = sources(out)
    assert len(found) == ugly.good
    assert found.count(str(ugly.path / PAGES)) == 2
    assert len(set(found)) == ugly.good - 1
    assert printable(str(ugly.path / os.fsdecode(BYTES))) in found
    images = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".json"]
    assert len(images) == ugly.good
    assert all(map(is_drawn, images))

    again = run([*command, *options, "--resume"])
    assert (again.returncode, again.stdout) == (1, b"")  # the broken ones are tried again
    assert again.stderr.decode().count("\n") == ugly.broken + 1
    assert sources(out) == found


def test_json_lines(command: list[str], ugly: UglyFolder) -> None:
    done = run([*command, "--ndjson"], env={"PYTHONIOENCODING": "utf-8:strict"})
    lines = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert done.returncode == 1
    assert len(lines) == ugly.good
    assert all(line["boxes"] for line in lines)


@pytest.mark.parametrize("mode", [[], ["--ndjson"]])
def test_a_terminal_without_unicode(command: list[str], ugly: UglyFolder, mode: list[str]) -> None:
    done = run([*command, *mode], env={"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"})
    assert done.returncode == 1
    assert len(done.stdout.decode("ascii").splitlines()) == ugly.good


@pytest.mark.parametrize("mode", [[], ["--ndjson"]])
def test_head_does_not_stop_the_saving(command: list[str], ugly: UglyFolder, tmp_path: Path, mode: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe:
        done = run([*command, *mode, "--save_path", str(tmp_path)], stdout=pipe)
    assert done.returncode == 1  # for the broken ones
    assert b"nobody reads standard output any more" in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert len(sources(tmp_path)) == ugly.good


def test_a_full_disk_behind_standard_output(command: list[str], ugly: UglyFolder, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = run([*command, "--save_path", str(tmp_path)], stdout=full)
    assert done.returncode == 1
    assert b"standard output cannot be written: No space left on device" in done.stderr
    assert len(sources(tmp_path)) == ugly.good


def test_in_place_twice(command: list[str], server: Server, two_people: Path, tmp_path: Path) -> None:
    ugly = make_ugly_folder(tmp_path / "photos", two_people)
    files = {path: path.read_bytes() for path in ugly.path.rglob("*") if path.is_file() and not path.is_symlink()}
    in_place = [*command[:-1], str(ugly.path), "--save_path", str(ugly.path)]
    first = run(in_place)
    made = sorted(ugly.path.rglob("*"))
    second = run(in_place)
    assert first.returncode == second.returncode == 1
    assert first.stdout == second.stdout
    assert sorted(ugly.path.rglob("*")) == made
    assert {path: path.read_bytes() for path in files} == files
    assert f"left out {ugly.good} images that maskserve drew" in second.stderr.decode()
