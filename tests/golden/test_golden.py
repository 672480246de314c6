"""The interfaces that are texts change only on purpose: `make golden` writes them anew, and the diff shows how."""

from __future__ import annotations

import pytest

from tests.golden.write import FOLDER, documents

NAMES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".txt", ".json"))


@pytest.fixture(scope="module")
def now() -> dict[str, str]:
    return documents()


def test_no_text_is_left_out(now: dict[str, str]) -> None:
    assert sorted(now) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_as_it_was(name: str, now: dict[str, str]) -> None:
    kept = (FOLDER / name).read_text(encoding="utf-8")
    assert now[name].splitlines() == kept.splitlines(), f"{name} changed; `make golden` if that is meant"
