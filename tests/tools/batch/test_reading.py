"""From sources to a listing, and from rows of Parquet files to images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskserve.errors import InputError
from maskserve_tools.batch.loading import load
from maskserve_tools.batch.reading import Columns, Listing, find_images
from maskserve_tools.batch.shards import Shard

NOWHERE = Path("nowhere")


def test_a_directory_is_searched_in_order_and_each_photo_is_listed_once(album: Path) -> None:
    listing = find_images([str(album), str(album / "deeper"), str(album / "*.jpg")], Columns(), NOWHERE)
    assert sorted(listing.files) == sorted(map(str, album.rglob("*.jpg")))
    assert len(listing) == 12
    assert listing == find_images([str(album)], Columns(), NOWHERE)


def test_a_relative_and_an_absolute_path_are_the_same_photo(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)
    relative = find_images([".", "broken.jpg", os.path.join("..", "album", "00.jpg")], Columns(), NOWHERE)
    assert relative == find_images([str(album)], Columns(), NOWHERE)


def test_the_output_is_no_input(album: Path) -> None:
    (album / "out").mkdir()
    (album / "out" / "painted.png").touch()
    for source in (str(album), str(album / "**")):
        listing = find_images([source], Columns(), leave_out=album / "out")
        assert len(listing) == 12


def test_hidden_files_and_other_kinds_are_no_photos(album: Path) -> None:
    (album / "._00.jpg").touch()
    (album / "notes.txt").touch()
    assert len(find_images([str(album)], Columns(), NOWHERE)) == 12


@pytest.mark.parametrize("source", ["missing/", "missing/*.jpg", "empty"])
def test_a_source_without_photos_is_named(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=source.replace("*", r"\*")):
        find_images([source], Columns(), NOWHERE)


def test_a_file_that_is_no_photo_has_an_error_of_its_own(album: Path) -> None:
    shard = Shard("s", [str(album), str(album / "gone.jpg"), str(album / "00.jpg")])
    directory, gone, good = load(shard, Columns())
    with pytest.raises(InputError, match="is a directory"):
        directory.image.encoded()
    with pytest.raises(InputError, match="no such file"):
        gone.image.encoded()
    assert good.image.encoded() == (album / "00.jpg").read_bytes()


class TestParquet:
    @pytest.fixture
    def table(self, album: Path) -> Path:
        pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra `batch`")
        from pyarrow import parquet

        content = (album / "00.jpg").read_bytes()
        columns = {"image": [content, None, b"", None], "path": ["first", "01.jpg", None, str(album / "02.jpg")]}
        path = album / "deeper" / "table.parquet"
        parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
        return path

    def test_its_rows_are_photos(self, table: Path) -> None:
        listing = find_images([str(table)], Columns(), NOWHERE)
        assert listing == Listing((), {str(table): 4}) or listing == Listing([], {str(table): 4})

    def test_bytes_come_before_paths_and_paths_start_at_the_table(self, table: Path, album: Path) -> None:
        shard = Shard("s", table=str(table), rows=range(4))
        first, second, third, fourth = load(shard, Columns())
        assert [input_image.id for input_image in (first, second, third, fourth)] == shard.ids
        assert (first.path, first.image.encoded()) == ("first", (album / "00.jpg").read_bytes())
        assert second.image.encoded() == (album / "deeper" / "01.jpg").read_bytes()
        assert fourth.image.encoded() == (album / "02.jpg").read_bytes()
        with pytest.raises(InputError, match=r"table.parquet#2: the row has neither"):
            third.image.encoded()

    def test_only_the_wanted_rows_are_read(self, table: Path) -> None:
        shard = Shard("s", table=str(table), rows=[1, 3])
        assert [input_image.id for input_image in load(shard, Columns())] == [f"{table}#1", f"{table}#3"]

    def test_structs_of_bytes_are_images_too(self, album: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra `batch`")
        from pyarrow import parquet

        path = album / "structs.parquet"
        rows = [{"photo": {"bytes": b"some", "path": "a.jpg"}}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        (input_image,) = load(Shard("s", table=str(path), rows=[0]), Columns(image="photo"))
        assert (input_image.path, input_image.image.encoded()) == ("a.jpg", b"some")

    def test_a_table_without_photos_names_the_options(self, table: Path) -> None:
        with pytest.raises(InputError, match=r"--image-column and --path-column .* image, path"):
            find_images([str(table)], Columns("jpeg", "file"), NOWHERE)

    def test_a_broken_table_is_named(self, album: Path) -> None:
        pytest.importorskip("pyarrow", reason="Parquet needs the extra `batch`")
        (album / "broken.parquet").write_text("no table")
        with pytest.raises(InputError, match=r"broken\.parquet cannot be read"):
            find_images([str(album)], Columns(), NOWHERE)
