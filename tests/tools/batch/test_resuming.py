"""Every image has one home, and a run does what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve.errors import InputError
from maskserve.saving.files import replacing
from maskserve_tools.batch.reading import Listing
from maskserve_tools.batch.resuming import agreed_layout, claimed, remainder, remove_scratch
from maskserve_tools.batch.shards import Layout, Shard
from maskserve_tools.batch.writing import FORMATS
from tests.tools.batch.conftest import row

PATHS = st.lists(st.text(min_size=1), unique=True)
LISTINGS = st.builds(Listing, PATHS, st.dictionaries(st.text(min_size=1), st.integers(0, 70), max_size=3))
LAYOUTS = st.builds(Layout, st.integers(1, 9), st.integers(1, 40))


@given(LISTINGS, LAYOUTS)
def test_each_photo_is_in_one_shard_and_survives_the_way_to_a_worker(listing: Listing, layout: Layout) -> None:
    shards = [Shard.from_json(shard.to_json()) for shard in layout.shards(listing)]
    assert all(len(shard) == len(shard.ids) > 0 for shard in shards)
    assert len({shard.name for shard in shards}) == len(shards)
    assert sum(map(len, shards)) == len(listing)
    assert {path for shard in shards for path in shard.files} == set(listing.files)
    assert {(shard.table, row) for shard in shards for row in shard.rows} == {
        (table, row) for table, count in listing.tables.items() for row in range(count)
    }


@given(LISTINGS, LAYOUTS, st.text(min_size=1))
def test_a_photo_stays_where_it_is_when_others_come(listing: Listing, layout: Layout, new: str) -> None:
    homes = {path: shard.name for shard in layout.shards(listing) for path in shard.files}
    more = replace(listing, files=[new, *listing.files])
    assert homes.items() <= {path: shard.name for shard in layout.shards(more) for path in shard.files}.items()


def test_a_name_that_is_no_text_is_left_out_by_its_id() -> None:
    shard = Shard("s", ["a\udcff.jpg", "b.jpg"])
    shard.ids[0].encode("utf-8")
    assert list(shard.without(shard.ids[:1]).files) == ["b.jpg"]


class TestRemainder:
    SHARDS = (Shard("one", ["a", "b", "c"]), Shard("two", ["d"]), Shard("three", table="t", rows=[0, 1]))

    @pytest.fixture(params=sorted(FORMATS))
    def kind(self, request: pytest.FixtureRequest) -> str:
        if request.param == "parquet":
            pytest.importorskip("pyarrow", reason="Parquet needs the extra `batch`")
        return str(request.param)

    def fill(self, folder: Path, kind: str) -> None:
        FORMATS[kind].save(folder / f"one{FORMATS[kind].suffix}", [row("a"), row("b", "broken")])
        FORMATS[kind].save(folder / f"three{FORMATS[kind].suffix}", [row("t#0"), row("t#1")])

    def test_what_has_a_row_is_done(self, tmp_path: Path, kind: str) -> None:
        self.fill(tmp_path, kind)
        left = remainder(tmp_path, kind, self.SHARDS, retry_errors=False)
        assert [shard.ids for shard in left.shards] == [["c"], ["d"]]
        assert (left.todo, left.done, left.failed) == (2, 4, 1)

    def test_errors_are_done_again_when_that_is_wanted(self, tmp_path: Path, kind: str) -> None:
        self.fill(tmp_path, kind)
        left = remainder(tmp_path, kind, self.SHARDS, retry_errors=True)
        assert [shard.ids for shard in left.shards] == [["b", "c"], ["d"]]
        assert (left.todo, left.done, left.failed) == (3, 3, 0)

    def test_a_damaged_file_is_named(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / f"two{FORMATS[kind].suffix}"
        path.write_text("{half")
        with pytest.raises(InputError, match=f"{path.name} cannot be read"):
            remainder(tmp_path, kind, self.SHARDS, retry_errors=False)


def test_the_first_run_decides_the_layout(tmp_path: Path) -> None:
    first = agreed_layout(tmp_path, {"model": "a"}, Layout(4, 100))
    assert agreed_layout(tmp_path, {"model": "a"}, Layout(7, 200)) == first == Layout(4, 100)


def test_rows_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    agreed_layout(tmp_path, {"model": "a"}, Layout(4, 100))
    with pytest.raises(InputError, match="begun with model 'a', not 'b'"):
        agreed_layout(tmp_path, {"model": "b"}, Layout(4, 100))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.parquet").touch()
    with pytest.raises(InputError, match="did not write"):
        agreed_layout(tmp_path, {}, Layout(1, 1))


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    agreed_layout(tmp_path, {}, Layout(1, 1))
    (tmp_path / "_maskserve.json").write_text("{}")
    with pytest.raises(InputError, match=r"_maskserve\.json is damaged"):
        agreed_layout(tmp_path, {}, Layout(1, 1))


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with claimed(folder), pytest.raises(InputError, match="another `maskserve batch`"), claimed(folder):
        pass
    with claimed(folder):
        remove_scratch(folder)


def test_scratch_files_are_removed_and_whole_ones_are_not(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing(tmp_path / "files-000001.parquet") as scratch:
        scratch.touch()
        raise RuntimeError
    left = {".notes", "files-000000.parquet"}
    for name in (scratch.name, *left):  # what a kill leaves, and others
        (tmp_path / name).touch()
    remove_scratch(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == left
