"""Archives that users bring: of any kind, with the model anywhere in it, and never trusted."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskserve.errors import InvalidParameter, ToolError
from maskserve_tools.models import archive
from maskserve_tools.models.archive import BadArchive, extract
from maskserve_tools.models.fetching import source_folder
from tests.examples import examples
from tests.tools.models.conftest import MODEL, content_of, tar_of


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as container:
        for name, content in files.items():
            container.writestr(name, content)
    return buffer.getvalue()


KINDS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    ".tar": tar_of,
    ".tar.gz": lambda files: gzip.compress(tar_of(files)),
    ".tgz": lambda files: gzip.compress(tar_of(files)),
    ".zip": zip_of,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKSERVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def below(prefix: str, files: dict[str, bytes] = MODEL) -> dict[str, bytes]:
    return {prefix + name: content for name, content in files.items()}


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("prefix", ["", "./", "cars/", "cars/best_model/inference/", "inference/"])
def test_the_model_is_found_wherever_it_is(suffix: str, prefix: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / f"cars{suffix}").write_bytes(KINDS[suffix](below(prefix)))
    lines: list[str] = []
    folder = source_folder(tmp_path / f"cars{suffix}", report=lines.append)
    assert content_of(folder) == MODEL
    assert folder.is_relative_to(cache)
    assert "unpacking" in lines[0]
    before = len(lines)
    assert source_folder(tmp_path / f"cars{suffix}", report=lines.append) == folder
    assert not any("unpacking" in line for line in lines[before:])


def test_another_archive_of_the_same_name_is_another_model(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "cars.zip"
    path.write_bytes(zip_of(MODEL))
    first = source_folder(path)
    path.write_bytes(zip_of({**MODEL, "inference.yml": b"new"}))
    assert content_of(source_folder(path))["inference.yml"] == b"new"
    assert content_of(first) == MODEL


def test_the_kind_is_told_by_the_content(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "cars.tar").write_bytes(zip_of(MODEL))
    assert content_of(source_folder(tmp_path / "cars.tar")) == MODEL


@pytest.mark.parametrize("suffix", KINDS)
def test_two_models_in_it_are_named(suffix: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / f"cars{suffix}").write_bytes(KINDS[suffix]({**below("a/"), **below("b/")}))
    with pytest.raises(InvalidParameter, match="holds 2 models: a, b; give the folder of one"):
        source_folder(tmp_path / f"cars{suffix}")


def test_what_is_no_archive_is_said_so(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "cars.zip").write_bytes(b"<html>")
    with pytest.raises(ToolError, match=r"cars\.zip cannot be used: it is not a tar or zip archive"):
        source_folder(tmp_path / "cars.zip")
    (tmp_path / "cars.onnx").write_bytes(b"onnx")
    with pytest.raises(ToolError, match=r"neither a folder nor an archive \(\.tar, \.tar\.gz, \.tgz, \.zip\)"):
        source_folder(tmp_path / "cars.onnx")


@pytest.fixture
def extracted(tmp_path: Path) -> Callable[[bytes], Path]:
    """Unpacks bytes; whatever comes of it, nothing may be outside of the folder."""
    (tmp_path / "in").mkdir()

    def extracted(content: bytes) -> Path:
        (tmp_path / "a").write_bytes(content)
        try:
            extract(tmp_path / "a", tmp_path / "in" / "model")
        finally:
            assert {path.name for path in tmp_path.iterdir()} == {"a", "in"}
            assert [path.name for path in (tmp_path / "in").iterdir()] == ["model"]
            assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
        return tmp_path / "in" / "model"

    return extracted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["/maskserve-escape", "../escape", "a/../../escape", ".."])
def test_paths_do_not_lead_out(kind: str, name: str, extracted: Callable[[bytes], Path]) -> None:
    with pytest.raises(BadArchive, match="leads out of the folder"):
        extracted(KINDS[kind]({**MODEL, name: b"x"}))
    assert not Path("/maskserve-escape").exists()


def test_links_in_a_zip_are_refused(extracted: Callable[[bytes], Path]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        info = zipfile.ZipInfo("door")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        container.writestr(info, "/etc/passwd")
    with pytest.raises(BadArchive, match="'door' is neither a plain file"):
        extracted(buffer.getvalue())


def test_links_in_a_compressed_tar_are_refused(extracted: Callable[[bytes], Path]) -> None:
    info = tarfile.TarInfo("door")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(BadArchive, match="'door' is neither a plain file"):
        extracted(gzip.compress(info.tobuf() + bytes(1024)))


@pytest.mark.parametrize("kind", [".tar.gz", ".zip"])
def test_a_bomb_is_refused(kind: str, extracted: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MAX_SMALL", 1 << 20)
    with pytest.raises(BadArchive, match="decompression bomb"):
        extracted(KINDS[kind]({**MODEL, "zeros": bytes(100 << 20)}))


def test_a_member_larger_than_it_says_is_refused(extracted: Callable[[bytes], Path]) -> None:
    content = bytearray(zip_of({"inference.yml": b"y" * 5000}))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + place
        content[at : at + 4] = struct.pack("<I", 10)
    with pytest.raises(BadArchive):
        extracted(bytes(content))


def test_a_huge_header_is_not_read_into_memory(extracted: Callable[[bytes], Path]) -> None:
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
    with pytest.raises(BadArchive, match="a header of more than 64 KiB"):
        extracted(gzip.compress(long.tobuf() + bytes(64 << 20)))


def test_an_encrypted_zip_is_refused(extracted: Callable[[bytes], Path]) -> None:
    content = bytearray(zip_of({"inference.yml": b"y"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadArchive):
        extracted(bytes(content))


SMALL = {kind: make({"top/inference.yml": b"y" * 50, "top/inference.json": b"j"}) for kind, make in KINDS.items()}


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([".tar.gz", ".zip"]),
    damage=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=5),
)
def test_a_damaged_archive_is_unpacked_or_refused(tmp_path: Path, kind: str, damage: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL[kind])
    for position, value in damage:
        content[position % len(content)] = value
    folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "a").write_bytes(content)
    with contextlib.suppress(BadArchive):
        extract(folder / "a", folder / "model")
    assert {path.name for path in folder.iterdir()} == {"a", "model"}
