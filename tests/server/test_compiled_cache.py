"""A core that was compiled once is read the next time, answers the same, and a damaged one is thrown away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import DEMO

from maskserve_server.engines import compiled_cache
from maskserve_server.engines.compiled_cache import CompiledCache
from maskserve_server.spec import ModelSpec

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "short": lambda content: content[:-1],
    "long": lambda content: content + b"x",
    "flipped": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "another": lambda content: b"something else that is longer than a header",
}


@pytest.fixture
def cache(tmp_path: Path) -> CompiledCache:
    """An empty one."""
    return CompiledCache(tmp_path / "compiled")


def test_what_was_kept_is_read(cache: CompiledCache, tmp_path: Path) -> None:
    assert cache.load("a") is None
    cache.keep("a", b"compiled")
    assert cache.load("a") == b"compiled"
    assert [path.name for path in (tmp_path / "compiled").iterdir()] == ["a.compiled"]
    assert (tmp_path / "compiled").stat().st_mode & 0o777 == 0o700
    cache.remove("a")
    assert cache.load("a") is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_thrown_away(damage: str, cache: CompiledCache, tmp_path: Path) -> None:
    cache.keep("a", b"compiled core")
    (path,) = (tmp_path / "compiled").iterdir()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert cache.load("a") is None
    assert not path.exists()


def test_the_key_holds_all_that_makes_a_difference(cache: CompiledCache, tmp_path: Path) -> None:
    file = tmp_path / "core.onnx"
    file.write_bytes(b"network")
    usual = cache.key(file, version="1", threads=2)
    assert cache.key(b"network", version="1", threads=2) == usual  # a bundle has the same core
    others = [
        cache.key(b"networks", version="1", threads=2),
        cache.key(file, version="2", threads=2),
        cache.key(file, version="1", threads=1),
    ]
    assert len({usual, *others}) == 4


def test_no_cache_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for cache in (CompiledCache(None), CompiledCache(tmp_path / "file"), CompiledCache(tmp_path / "file" / "below")):
        cache.keep("a", b"compiled")
        assert cache.load("a") is None
        cache.remove("a")


def test_another_users_file_is_not_trusted(
    cache: CompiledCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.keep("a", b"compiled")
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert cache.load("a") == (b"compiled" if me == 0 else None)  # root's is
    if me == 0:
        os.chown(tmp_path / "compiled" / "a.compiled", 12345, 12345)
        assert cache.load("a") is None


def test_many_write_and_read_at_once(cache: CompiledCache, tmp_path: Path) -> None:
    content = os.urandom(1 << 20)

    def use(number: int) -> bool:
        cache.keep("a", content)
        return cache.load("a") == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(64)))
    assert [path.name for path in (tmp_path / "compiled").iterdir()] == ["a.compiled"]


def test_those_that_were_used_last_stay(cache: CompiledCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, key in enumerate("cba"):
        cache.keep(key, b"x" * 1000)
        os.utime(tmp_path / "compiled" / f"{key}.compiled", (1e9 + age, 1e9 + age))
    assert cache.load("c")  # which makes it the newest
    monkeypatch.setattr(compiled_cache, "_MOST_BYTES", 3200)
    left = tmp_path / "compiled" / ".killed.writing"
    left.touch()
    os.utime(left, (1e9, 1e9))
    cache.keep("d", b"x" * 1000)
    assert sorted(path.stem for path in (tmp_path / "compiled").iterdir()) == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"MASKSERVE_COMPILED_CACHE": "/here", "MASKSERVE_CACHE": "/there"}, "/here"),
        ({"MASKSERVE_COMPILED_CACHE": "", "MASKSERVE_CACHE": "/there"}, None),
        ({"MASKSERVE_CACHE": "/there", "XDG_CACHE_HOME": "/xdg"}, "/there/compiled"),
        ({"MASKSERVE_COMPILED_CACHE": "~/here"}, f"{Path.home()}/here"),
        ({"MASKSERVE_CACHE": "~/there"}, f"{Path.home()}/there/compiled"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/maskserve/compiled"),
        ({"XDG_CACHE_HOME": "relative"}, f"{Path.home()}/.cache/maskserve/compiled"),
        ({}, f"{Path.home()}/.cache/maskserve/compiled"),
    ],
)
def test_where_it_is(environment: dict[str, str], place: str | None) -> None:
    assert CompiledCache.usual(environment)._folder == (None if place is None else Path(place))


def test_a_core_is_compiled_once_and_answers_the_same(
    demo_repository: Path, tmp_path: Path, cache: CompiledCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the server extra")
    from maskserve_server.engines.openvino import OpenVINOEngine

    version = demo_repository / f"{DEMO}.core" / "1"
    spec = ModelSpec.read(version)
    core = replace(spec.core, engine="openvino")
    random = np.random.default_rng(0)
    size = np.array([core.image_shape[1:]], np.float32)
    feeds = {
        "image": random.normal(size=(1, *core.image_shape)).astype(np.float32),
        "im_shape": size,
        "scale_factor": np.ones((1, 2), np.float32),
        "threshold": np.full((1, 1), 0.5, np.float32),
    }

    def answer(source: Path | bytes, streams: int = 1) -> dict[str, np.ndarray]:
        engine = OpenVINOEngine(source, core, threads=2, cache=cache, streams=streams)
        return {name: array.copy() for name, array in engine(feeds).items()}

    compiled = answer(version / core.file)
    (kept,) = (tmp_path / "compiled").iterdir()

    def never(*args: object) -> None:
        raise AssertionError("it was compiled again")

    with monkeypatch.context() as patched:
        patched.setattr(openvino.Core, "compile_model", never)
        read = answer((version / core.file).read_bytes())
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)
    again = answer(version / core.file)
    cache.keep(kept.stem, b"whole, but not what OpenVINO wrote")
    once_more = answer(version / core.file)
    for name, array in compiled.items():
        for other in (read, again, once_more):
            np.testing.assert_array_equal(other[name], array)
    answer(version / core.file, streams=2)
    assert len(list((tmp_path / "compiled").iterdir())) == 2


def test_a_core_that_is_replaced_before_it_is_read_is_not_kept_as_the_old_one(
    demo_repository: Path, tmp_path: Path, cache: CompiledCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="needs the server extra")
    from maskserve_server.engines.openvino import OpenVINOEngine

    version = demo_repository / f"{DEMO}.core" / "1"
    core = replace(ModelSpec.read(version).core, engine="openvino")
    file, key = tmp_path / core.file, cache.key

    def slowly(source: Path, **what: object) -> str:
        found = key(source, **what)
        source.rename(tmp_path / "old.onnx")
        shutil.copyfile(version / core.file, source)
        return found

    shutil.copyfile(version / core.file, file)
    monkeypatch.setattr(cache, "key", slowly)
    OpenVINOEngine(file, core, threads=1, cache=cache)
    assert not (tmp_path / "compiled").exists()
