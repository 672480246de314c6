"""Archives that hold a model, and archives that try to get out."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from maskserve.errors import ToolError
from maskserve_tools.models import archive
from maskserve_tools.models.archive import BadArchive, unpack
from tests.examples import examples
from tests.tools.models.conftest import MODEL, OFFICIAL, tar_of


@pytest.fixture
def unpacked(tmp_path: Path) -> Callable[[bytes], Path]:
    """Unpacks bytes; whatever comes of it, nothing may be outside of the folder."""

    def unpacked(content: bytes) -> Path:
        (tmp_path / "a.tar").write_bytes(content)
        try:
            unpack(tmp_path / "a.tar", tmp_path / "in" / "model")
        finally:
            assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "in"}
            assert [path.name for path in (tmp_path / "in").iterdir()] == ["model"]
            assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
        return tmp_path / "in" / "model"

    (tmp_path / "in").mkdir()
    return unpacked


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _with(name: str, kind: bytes, *, link: str = "", mode: int = 0o644) -> bytes:
    """The model, followed by a member of any kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file, content in MODEL.items():
            info = tarfile.TarInfo(file)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, link, mode
        tar.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize("prefix", ["", "./", "PP-YOLOE_seg-S_infer/", "./PP-YOLOE_seg-S_infer/"])
def test_the_model_is_there_with_or_without_a_directory_around_it(
    prefix: str, unpacked: Callable[[bytes], Path]
) -> None:
    assert _content(unpacked(tar_of({prefix + name: content for name, content in MODEL.items()}))) == MODEL


def test_directories_inside_stay(unpacked: Callable[[bytes], Path]) -> None:
    files = {**MODEL, "docs/deep/readme.txt": b"read me"}
    assert _content(unpacked(tar_of({f"top/{name}": content for name, content in files.items()}))) == files


def test_a_tar_of_a_folder_has_members_for_directories(tmp_path: Path, unpacked: Callable[[bytes], Path]) -> None:
    buffer = io.BytesIO()
    source = tmp_path / "in" / "model"
    source.mkdir()
    for name, content in MODEL.items():
        (source / name).write_bytes(content)
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(source, "SOLOv2_infer")
    for name in MODEL:
        (source / name).unlink()
    source.rmdir()
    assert _content(unpacked(buffer.getvalue())) == MODEL


def test_permissions_are_the_users_own(unpacked: Callable[[bytes], Path]) -> None:
    info = (unpacked(_with("run.sh", tarfile.REGTYPE, mode=0o6777)) / "run.sh").stat()
    assert info.st_mode & 0o7111 == 0
    assert info.st_uid == os.getuid()


@pytest.mark.parametrize("name", ["/maskserve-escape", "../escape", "a/../../escape", "..", "a/.."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_paths_do_not_lead_out(name: str, kind: bytes, unpacked: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadArchive, match="leads out of the folder"):
        unpacked(_with(name, kind))
    assert not Path("/maskserve-escape").exists()


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "inference.yml"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "inference.yml"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, link: str, unpacked: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadArchive, match="'thing' is neither a plain file nor a directory"):
        unpacked(_with("thing", kind, link=link))


def test_a_file_through_a_link_ends_nowhere(unpacked: Callable[[bytes], Path], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("door")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("door/escape"))
    with pytest.raises(BadArchive, match="'door'"):
        unpacked(buffer.getvalue())


def test_a_huge_announced_size_is_refused_before_anything_is_written(
    unpacked: Callable[[bytes], Path], tmp_path: Path
) -> None:
    first = tarfile.TarInfo("inference.pdiparams")
    first.size = 1 << 42
    with pytest.raises(BadArchive, match="its files have more than 4 GiB"):
        unpacked(first.tobuf() + bytes(1024))
    assert _content(tmp_path / "in") == {}


def test_many_files_together_are_bounded(unpacked: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MAX_BYTES", 200_000)
    with pytest.raises(BadArchive, match="its files have more than"):
        unpacked(OFFICIAL)


def test_a_sparse_file_that_swells_is_refused(unpacked: Callable[[bytes], Path]) -> None:
    headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(1 << 41),
    }
    info = tarfile.TarInfo("inference.pdiparams")
    info.pax_headers = headers
    with pytest.raises(BadArchive, match="neither a plain file"):
        unpacked(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


def test_members_are_bounded(unpacked: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadArchive, match="more than 1000 members"):
        unpacked(tar_of({f"file{i}": b"" for i in range(1001)}))


def test_a_size_below_zero_does_not_send_the_reader_in_circles(unpacked: Callable[[bytes], Path]) -> None:
    header = bytearray(tarfile.TarInfo("inference.yml").tobuf())
    header[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")  # base 256, negative: back to itself
    header[148:156] = b"%06o\x00 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    with pytest.raises(BadArchive, match=r"neither a plain file|damaged"):
        unpacked(bytes(header) + bytes(1024))


def test_headers_within_headers_end_in_an_error(unpacked: Callable[[bytes], Path]) -> None:
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 512
    with pytest.raises(BadArchive, match="damaged"):
        unpacked((long.tobuf() + bytes(512)) * 3000)


@pytest.mark.parametrize("second", ["inference.yml", "inference.yml/below", "n" * 300])
def test_paths_that_cannot_be_made_are_the_archives_fault(second: str, unpacked: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadArchive, match="cannot all be made"):
        unpacked(_with(second, tarfile.REGTYPE))


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><title>Log in to this network</title>", gzip.compress(OFFICIAL)]
)
def test_what_is_no_tar_is_said_so(content: bytes, unpacked: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadArchive, match="not a tar archive"):
        unpacked(content)


def test_a_tar_that_is_cut_short_is_not_unpacked(unpacked: Callable[[bytes], Path], tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="damaged"):
        unpacked(OFFICIAL[: len(OFFICIAL) // 2])


@pytest.mark.parametrize("lacking", ["inference.yml", "inference.pdiparams", "inference.pdmodel"])
def test_a_tar_without_the_whole_model_is_told_what_is_missing(lacking: str, unpacked: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadArchive, match=f"it has no .*{lacking}"):
        unpacked(tar_of({name: content for name, content in MODEL.items() if name != lacking}))


def test_a_folder_that_cannot_be_written_is_not_the_archives_fault(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as raised:
        unpack(tmp_path / "nothing.tar", tmp_path / "model")
    assert not isinstance(raised.value, BadArchive)


SMALL = tar_of({"top/inference.yml": b"y", "top/inference.json": b"j", "top/inference.pdiparams": b"p"})


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3 * 1024 - 1), st.integers(0, 255)), min_size=1, max_size=6))
@example([(156, ord("x"))])
@example([(156, ord("S"))])
def test_a_damaged_tar_is_a_model_or_an_error_and_nothing_else(tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL)
    for position, value in damage:
        content[position] = value
    for start in range(0, 3 * 1024, 1024):  # right checksums, so that the damage is looked at
        header = content[start : start + 512]
        total = sum(header[:148]) + 8 * 32 + sum(header[156:])
        content[start + 148 : start + 156] = b"%06o\x00 " % total
    folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "a.tar").write_bytes(content)
    try:
        unpack(folder / "a.tar", folder / "model")
    except BadArchive:
        pass
    else:
        assert (folder / "model" / "inference.yml").is_file()
    assert {path.name for path in folder.iterdir()} == {"a.tar", "model"}
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def _extended(kind: bytes, content: bytes) -> bytes:
    """A header that extends the next one, and its content."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def _one_file() -> bytes:
    info = tarfile.TarInfo("inference.yml")
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)


HEADERS = {
    "a PAX header of 65 KiB": _extended(b"x", b"66000 comment=" + b"a" * 65_985 + b"\n"),
    "a global one": _extended(b"g", b"66000 comment=" + b"a" * 65_985 + b"\n"),
    "a GNU name": _extended(b"L", b"a" * 66_000),
    "a GNU link": _extended(b"K", b"a" * 66_000),
    "300 global ones of 32 KiB": _extended(b"g", b"32000 comment=" + b"a" * 31_985 + b"\n") * 300,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_long_headers(header: bytes, tmp_path: Path) -> None:
    """tarfile would read them whole: a file of 1.5 GB of them took 4.4 GB of memory."""
    file = tmp_path / "model.tar"
    file.write_bytes(header + _one_file())
    for unpacker in (archive.unpack, archive.extract):
        with pytest.raises(archive.BadArchive, match="has a header of more than 64 KiB, or very many headers"):
            unpacker(file, tmp_path / unpacker.__name__)


def test_a_header_that_may_be(tmp_path: Path) -> None:
    file = tmp_path / "model.tar"
    file.write_bytes(_extended(b"x", b"60000 comment=" + b"a" * 59_985 + b"\n") + _one_file())
    archive.extract(file, tmp_path / "model")
    assert (tmp_path / "model" / "inference.yml").read_bytes() == b""


def test_a_zip_whose_directory_is_long(tmp_path: Path) -> None:
    """zipfile reads it whole, too."""
    file = tmp_path / "model.zip"
    with zipfile.ZipFile(file, "w") as container:
        for k in range(150):
            info = zipfile.ZipInfo(f"{k}")
            info.comment = b"a" * 60_000
            container.writestr(info, b"")
    with pytest.raises(archive.BadArchive, match="more than 8 MiB of it would have to be read at once"):
        archive.extract(file, tmp_path / "model")
