"""Ugly names, broken files and disks that are full, as far as it goes without Ray; `test_run.py` has the rest."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from maskserve.errors import InputError, InvalidParameter, from_wire
from maskserve.pipeline import Pipeline
from maskserve_tools.batch.loading import load
from maskserve_tools.batch.reading import MANIFEST, Columns, find_images
from maskserve_tools.batch.resuming import remainder
from maskserve_tools.batch.run import Progress
from maskserve_tools.batch.segmenting import Job, Report, Worker
from maskserve_tools.batch.shards import Layout, Shard
from maskserve_tools.batch.writing import FORMATS
from maskserve_tools.commands.batch import _say
from tests.tools.batch.conftest import ndjson_rows, row
from tests.ugly_names import PAGES, make_ugly_folder

NOWHERE = Path("nowhere")


def test_each_ugly_name_has_an_id_of_its_own(tmp_path: Path) -> None:
    folder = make_ugly_folder(tmp_path / "ugly").path
    (folder / "caf\\xe9.jpg").touch()  # as the escape of the name that is not UTF-8
    listing = find_images([str(folder)], Columns(), NOWHERE)
    shards = list(Layout(1, 1).shards(listing))
    ids = [name for shard in shards for name in shard.ids]
    assert len(set(ids)) == len(ids) == len(listing) == 29
    assert "\n".join(ids).encode("utf-8")
    kept = ids[:7]
    assert sum(len(shard.without(kept)) for shard in shards) == 22


def test_a_pipe_is_not_waited_for_and_a_drawn_image_is_no_photo(tmp_path: Path) -> None:
    from PIL import Image

    from maskserve.saving.drawn import write_image

    folder = make_ugly_folder(tmp_path / "ugly").path
    write_image(Image.new("RGB", (8, 6)), folder / "drawn.png")
    paths = [str(folder / "broken" / "pipe.jpg"), str(folder / "drawn.png"), str(folder / PAGES)]
    pipe, drawn, pages = load(Shard("s", paths), Columns())
    for image, message in ((pipe, "a pipe, a socket"), (drawn, "drawn by maskserve"), (pages, "several pages")):
        with pytest.raises(InputError, match=message):
            image.image.encoded()


def test_a_directory_that_cannot_be_read_is_named(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("deeper"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    listing = find_images([str(album), str(album)], Columns(), NOWHERE)
    assert listing.refused == (f"the directory '{album}/deeper' cannot be read: Permission denied",)
    assert len(listing) == 7
    with pytest.raises(InputError, match=r"there is no image in .*; the directory '.*deeper' cannot be read"):
        find_images([str(album / "deeper")], Columns(), NOWHERE)


def test_the_output_of_another_run_is_no_input(album: Path) -> None:
    (album / "out" / "more").mkdir(parents=True)
    for name in (MANIFEST, "files-000000.parquet", "more/a.jpg"):
        (album / "out" / name).touch()
    listing = find_images([str(album)], Columns(), NOWHERE)
    assert (len(listing), listing.left_out) == (12, (str(album / "out"),))


def test_a_link_that_leads_nowhere_does_not_stop_a_pattern(album: Path) -> None:
    (album / "gone.jpg").symlink_to("nowhere.jpg")
    assert str(album / "gone.jpg") in find_images([str(album / "*.jpg")], Columns(), NOWHERE).files


class TestSaving:
    @pytest.fixture
    def worker(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> Worker:
        worker = Worker(job)
        monkeypatch.setattr(worker, "segment", lambda _, shard: [row(name) for name in shard.ids])
        return worker

    def test_a_directory_in_the_way_is_one_shards_trouble(self, worker: Worker, job: Job) -> None:
        folder = Path(job.folder)
        (folder / "one.ndjson").mkdir()
        shards = [Shard("one", ["a", "b"]), Shard("two", ["c"])]
        assert remainder(folder, "ndjson", shards, retry_errors=False).todo == 3
        first, second = (worker.report(number, shard) for number, shard in enumerate(shards))
        assert (first.images, first.refusal, first.undone) == (0, "", 2)
        assert first.problem == f"{folder}/one.ndjson cannot be written: Is a directory"
        assert second == Report(1, 0)
        (folder / "one.ndjson").rmdir()
        assert remainder(folder, "ndjson", shards, retry_errors=False).todo == 2

    def test_a_full_disk_leaves_the_rows_of_before(
        self, worker: Worker, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        FORMATS["ndjson"].save(Path(job.folder, "s.ndjson"), [row("a")])

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            report = worker.report(0, Shard("s", ["b"]))
        assert "No space left on device" in report.problem
        assert [made["id"] for made in ndjson_rows(Path(job.folder))] == ["a"]
        assert worker.report(0, Shard("s", ["b"])) == Report(1, 0)
        assert [made["id"] for made in ndjson_rows(Path(job.folder))] == ["a", "b"]

    def test_a_table_that_is_gone_is_one_shards_trouble(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pyarrow", reason="Parquet needs the extra `batch`")

        class Silent(Pipeline):
            def predict(self, input: object, *_: object, **__: object) -> object:  # type: ignore[override]
                return iter(list(input))  # type: ignore[call-overload]

        worker = Worker(job)
        monkeypatch.setattr(worker, "_opened", lambda: [Silent.__new__(Silent)])
        report = worker.report(0, Shard("s", table=f"{job.folder}/gone.parquet", rows=[0, 1, 2]))
        assert (report.refusal, report.undone) == ("", 3)
        assert "gone.parquet cannot be read as Parquet" in report.problem

    def test_what_is_wrong_for_all_ends_the_run(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        worker = Worker(job)

        def refuse(*_: object) -> None:
            raise InvalidParameter("the model has no class 'dragon'")

        monkeypatch.setattr(worker, "segment", refuse)
        for _ in range(2):
            assert isinstance(from_wire(worker.report(0, Shard("s", ["a"])).refusal), InvalidParameter)

    @pytest.mark.parametrize("kind", sorted(FORMATS))
    def test_rows_that_a_format_refuses(self, kind: str, tmp_path: Path) -> None:
        if kind == "parquet":
            pytest.importorskip("pyarrow", reason="Parquet needs the extra `batch`")
        wrong = {**row("a"), "width": float("nan") if kind == "ndjson" else "wide"}
        with pytest.raises(InputError, match=f"rows{FORMATS[kind].suffix} cannot be written"):
            FORMATS[kind].save(tmp_path / f"rows{FORMATS[kind].suffix}", [wrong])
        assert list(tmp_path.iterdir()) == []

    def test_what_was_not_saved_is_in_the_line(self) -> None:
        progress = Progress(5, 0, 0, lambda _: None, 10)
        progress.add(Report(3, 1))
        progress.add(Report(0, 0, problem="full", undone=2))
        assert str(progress).startswith("3 of 5 images, ")
        assert str(progress).endswith("1 with an error, 2 not saved")


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), None])
def test_nobody_has_to_read_what_is_said(monkeypatch: pytest.MonkeyPatch, error: OSError | None) -> None:
    class Closed:
        closed = False

        def isatty(self) -> bool:
            return True

        def write(self, _: str) -> None:
            if error:
                raise error

    monkeypatch.setattr(sys, "stderr", Closed() if error else None)
    _say("half done")
