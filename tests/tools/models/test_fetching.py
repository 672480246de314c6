"""Fetching models into the cache, and finding them there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_tools.models.archive import BadArchive
from maskserve_tools.models.cache import CachedModel
from maskserve_tools.models.fetching import fetch
from tests.tools.models.conftest import (
    MODEL,
    NAME,
    NOWHERE,
    OFFICIAL,
    QUICK,
    VERSION,
    Handler,
    Site,
    content_of,
    cut_off,
    serve,
    status,
    tar_of,
)


def _names(cache: Path) -> set[str]:
    return {path.name for path in (cache / "models" / VERSION).iterdir()}


def test_a_model_comes_from_the_site_and_is_recorded(site: Site, cache: Path) -> None:
    folder = fetch(NAME, source=site.url)
    assert folder == cache / "models" / VERSION / NAME
    assert content_of(folder) == MODEL
    assert site.requests == [(f"/models/{VERSION}/{NAME}_infer.tar", None)]
    assert json.loads(folder.with_name(f"{NAME}.json").read_text()) == {
        "name": NAME,
        "version": VERSION,
        "url": f"{site.url}/{VERSION}/{NAME}_infer.tar",
        "size": len(OFFICIAL),
        "sha256": hashlib.sha256(OFFICIAL).hexdigest(),
        "files": {name: len(content) for name, content in MODEL.items()},
    }
    assert _names(cache) == {NAME, f"{NAME}.json", f".{NAME}.lock"}


def test_the_second_time_nothing_is_asked_for(site: Site, cache: Path) -> None:
    first = fetch(NAME, source=site.url)
    assert fetch(NAME, source=NOWHERE) == first
    assert len(site.requests) == 1


def test_a_cache_that_cannot_be_written_is_good_for_what_it_has(site: Site, cache: Path) -> None:
    folder = fetch(NAME, source=site.url)
    (folder.parent / f".{NAME}.lock").unlink()
    (folder.parent / f".{NAME}.lock").mkdir()  # opening it for a lock would fail
    assert fetch(NAME, source=NOWHERE) == folder


def test_versions_are_kept_apart(site: Site, cache: Path) -> None:
    folders = {fetch(NAME, source=f"{site.url}/", version=version) for version in (VERSION, "paddle3.0.0")}
    assert len(folders) == 2
    assert site.requests[1][0] == f"/models/paddle3.0.0/{NAME}_infer.tar"


def test_the_source_comes_from_the_environment(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_MODEL_SOURCE", site.url)
    assert content_of(fetch(NAME)) == MODEL


@pytest.mark.parametrize(
    "source",
    [
        "",
        "ftp://host/x",
        "file:///tmp",
        "host/x",
        "http://",
        "http://a:b@host",
        "http://host/?x=1",
        "http://host:x",
        "http://[",
    ],
)
def test_a_source_that_is_no_web_address_is_refused(source: str, cache: Path) -> None:
    with pytest.raises(ToolError, match="cannot be a source of models"):
        fetch(NAME, source=source)


def test_a_source_with_a_blank_is_refused_by_name(cache: Path) -> None:
    with pytest.raises(ToolError, match=r"a b/.* cannot be downloaded"):
        fetch(NAME, source="http://127.0.0.1/a b", limits=QUICK)


def test_unknown_names_and_versions_are_answered_with_known_ones(cache: Path) -> None:
    with pytest.raises(ToolError, match="did you mean PP-YOLOE_seg-S"):
        fetch("PP-YOLOE_seg-L")
    with pytest.raises(ToolError, match=r"paddle3\.0b2, paddle3\.0rc0, paddle3\.0\.0"):
        fetch(NAME, version="../..")


def test_without_a_network_the_message_says_how_to_go_on(cache: Path) -> None:
    with pytest.raises(ToolError) as raised:
        fetch(NAME, source=NOWHERE, limits=QUICK)
    message = raised.value.message
    assert f"{NOWHERE}/{VERSION}/{NAME}_infer.tar cannot be reached" in message
    assert f"put it at {cache / 'models' / VERSION / NAME}_infer.tar" in message
    assert "`maskserve convert`" in message
    assert "MASKSERVE_MODEL_SOURCE" in message


def test_an_archive_put_into_the_cache_is_used_without_a_network(cache: Path) -> None:
    archive = cache / "models" / VERSION / f"{NAME}_infer.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(OFFICIAL)
    folder = fetch(NAME, source=NOWHERE)
    assert content_of(folder) == MODEL
    assert archive.is_file()
    record = json.loads(folder.with_name(f"{NAME}.json").read_text())
    assert record["url"] is None
    assert record["sha256"] == hashlib.sha256(OFFICIAL).hexdigest()


def test_a_bad_archive_put_into_the_cache_is_named_and_left(cache: Path) -> None:
    archive = cache / "models" / VERSION / f"{NAME}_infer.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"<html>")
    with pytest.raises(BadArchive, match=f"{archive} cannot be used: it is not a tar archive"):
        fetch(NAME, source=NOWHERE)
    assert _names(cache) == {archive.name, f".{NAME}.lock"}


def test_a_folder_put_into_the_cache_is_used_as_it_is(cache: Path) -> None:
    folder = cache / "models" / VERSION / NAME
    folder.mkdir(parents=True)
    for name, content in MODEL.items():
        (folder / name).write_bytes(content)
    assert fetch(NAME, source=NOWHERE) == folder
    assert _names(cache) == {NAME}


def test_half_a_folder_of_somebody_else_is_left_alone(cache: Path) -> None:
    folder = cache / "models" / VERSION / NAME
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ToolError, match=f"{folder} is there but is not a whole model.*move it away"):
        fetch(NAME, source=NOWHERE)
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", ["shortened", "removed"])
def test_a_damaged_folder_of_ours_is_fetched_again(damage: str, site: Site, cache: Path) -> None:
    weights = fetch(NAME, source=site.url) / "inference.pdiparams"
    if damage == "removed":
        weights.unlink()
    else:
        weights.write_bytes(b"short")
    lines: list[str] = []
    assert content_of(fetch(NAME, source=site.url, report=lines.append)) == MODEL
    assert "not as it was fetched" in lines[0]


def test_what_somebody_adds_to_a_folder_does_no_harm(site: Site, cache: Path) -> None:
    folder = fetch(NAME, source=site.url)
    (folder / "readme.txt").write_text("added")
    assert fetch(NAME, source=NOWHERE) == folder


@pytest.mark.parametrize("record", ["", "[]", "null", '{"files": 3}'])
def test_a_damaged_record_does_no_harm(record: str, site: Site, cache: Path) -> None:
    folder = fetch(NAME, source=site.url)
    folder.with_name(f"{NAME}.json").write_text(record)
    assert fetch(NAME, source=NOWHERE) == folder


def test_what_a_killed_unpacking_left_is_no_obstacle(site: Site, cache: Path) -> None:
    left = CachedModel.at(cache, VERSION, NAME).staging
    left.mkdir(parents=True)
    (left / "inference.yml").write_text("half")
    assert content_of(fetch(NAME, source=site.url)) == MODEL
    assert not left.exists()


def test_a_cut_off_model_goes_on_with_the_next_call(site: Site, cache: Path) -> None:
    site.behaviours = [cut_off(1000), status(503), status(503)]
    with pytest.raises(ToolError, match="what has arrived is kept"):
        fetch(NAME, source=site.url, limits=QUICK)
    assert not (cache / "models" / VERSION / NAME).exists()
    assert content_of(fetch(NAME, source=site.url, limits=QUICK)) == MODEL
    assert site.ranges()[-1] == "bytes=1000-"


def test_a_bad_archive_from_the_site_is_not_kept(site: Site, cache: Path) -> None:
    site.content = tar_of({"../escape": b"", **MODEL})
    with pytest.raises(BadArchive, match=f"{site.url}/.* cannot be used: its member '../escape' leads out"):
        fetch(NAME, source=site.url)
    assert _names(cache) == {f".{NAME}.lock"}
    site.content, site.etag = OFFICIAL, '"two"'
    assert content_of(fetch(NAME, source=site.url)) == MODEL


def test_a_version_that_the_site_does_not_have_is_said_so(site: Site, cache: Path) -> None:
    site.behaviours = [status(404)]
    with pytest.raises(ToolError, match=r"404 .*Try `maskserve fetch --version paddle3\.0rc0\|paddle3\.0\.0`"):
        fetch(NAME, source=site.url)


def test_threads_that_want_the_same_model_fetch_it_once(site: Site, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: fetch(NAME, source=site.url), range(8)))
    assert len(folders) == 1
    assert len(site.requests) == 1


def test_processes_that_want_the_same_model_fetch_it_once(site: Site, cache: Path) -> None:
    started = threading.Event()

    def serve_when_both_are_there(handler: Handler) -> None:
        started.wait(30)
        serve(handler)

    site.behaviours = [serve_when_both_are_there]
    command = [sys.executable, "-W", "error", "-m", "maskserve_tools.cli", "fetch", NAME, "--source", site.url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as one,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        # One holds the lock until the other has said that it waits.
        said = pool.map(lambda process: _read_until(process, "waiting", started), (one, two))
        assert sum("waiting for it" in text for text in said) == 1
        folder = f"{cache / 'models' / VERSION / NAME}\n"
        assert [process.communicate()[0] for process in (one, two)] == [folder, folder]
    assert len(site.requests) == 1


def _read_until(process: subprocess.Popen[str], word: str, event: threading.Event) -> str:
    assert process.stderr is not None
    text = ""
    for line in process.stderr:
        text += line
        if word in line:
            event.set()
    return text


def test_who_waits_for_the_lock_says_so(site: Site, cache: Path) -> None:
    model = CachedModel.at(cache, VERSION, NAME)
    waiting = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with model.locked(lambda: None):
            fetched = pool.submit(fetch, NAME, source=site.url, report=lambda line: waiting.set())
            assert waiting.wait(10)
            assert site.requests == []
        assert content_of(fetched.result()) == MODEL


def test_a_file_system_without_locks_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(ToolError, match="cannot be used as a cache: No locks available; set MASKSERVE_CACHE"):
        fetch(NAME, source=NOWHERE)


def test_a_cache_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(ToolError, match=r"cannot be used as a cache: .*; set MASKSERVE_CACHE"):
        fetch(NAME, source=NOWHERE, cache=tmp_path / "cache")
