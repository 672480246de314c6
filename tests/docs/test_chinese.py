"""The Chinese README and Start guide keep step with the English ones: commands, headings, links and figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import ROOT

PAIRS = {"README.md": "README.zh-CN.md", "docs/index.md": "docs/index.zh-CN.md"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The blocks of code without their comments, which are in the language of the document."""
    return [
        (language, [re.sub(r"(^|\s)#.*", "", line).rstrip() for line in block.splitlines()])
        for language, block in _FENCE.findall(text)
    ]


def headings(text: str) -> list[int]:
    return [len(mark) for mark in re.findall(r"^(#+) ", prose(text), re.MULTILINE)]


def links(text: str) -> Counter[str]:
    """The targets; an anchor in the document itself counts as one, and the link to the other language not at all."""
    found = _LINK.findall(text)
    others = {path.rpartition("/")[2] for pair in PAIRS.items() for path in pair}
    return Counter("#" if target.startswith("#") else target for target in found if target not in others)


def tables(text: str) -> list[tuple[int, list[str]]]:
    """The columns of each row, and the figures in it."""
    rows = [line for line in prose(text).splitlines() if line.startswith("|")]
    return [(row.count("|"), _NUMBER.findall(row)) for row in rows]


def code_words(text: str) -> Counter[str]:
    return Counter(re.findall(r"`([^`\n]+)`", prose(text)))


def figures(text: str) -> Counter[str]:
    return Counter(_NUMBER.findall(prose(text)))


READERS: dict[str, Callable[[str], object]] = {
    reader.__name__: reader for reader in (commands, headings, links, tables, code_words)
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("english", PAIRS)
def test_both_languages_say_the_same(english: str, reader: str) -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in (english, PAIRS[english])]
    one, other = (READERS[reader](text) for text in texts)
    assert one, "nothing was compared"
    assert one == other, f"{PAIRS[english]} is not what {english} says"


@pytest.mark.parametrize("english", PAIRS)
def test_figures_are_the_same(english: str) -> None:
    """Words such as "fifteen" may be figures in one language: those of three signs and more have to be there."""
    one, other = (figures((ROOT / name).read_text(encoding="utf-8")) for name in (english, PAIRS[english]))
    long = {figure for figure in {*one, *other} if len(figure) >= 3}
    assert {figure: one[figure] for figure in long} == {figure: other[figure] for figure in long}


@pytest.mark.parametrize("english", PAIRS)
def test_anchors_and_the_other_language(english: str) -> None:
    text = (ROOT / PAIRS[english]).read_text(encoding="utf-8")
    titles = {title.strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)}
    assert {target[1:] for target in _LINK.findall(text) if target.startswith("#")} <= titles
    assert f"({english.rpartition('/')[2]})" in text
    assert f"({PAIRS[english].rpartition('/')[2]})" in (ROOT / english).read_text(encoding="utf-8")


def test_a_difference_is_seen() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    changed = {
        "commands": text.replace("maskserve doctor model_repository", "maskserve doctor"),
        "headings": text.replace("## Call it", "### Call it"),
        "links": text.replace("(docs/batch.md)", "(docs/client.md)"),
        "tables": text.replace("| 0.7 GB |", "| 0.8 GB |"),
        "code_words": text.replace("`labels`", "labels").replace("`perf-data`", "perf-data"),
    }
    assert changed.keys() == READERS.keys()
    for reader, other in changed.items():
        assert other != text
        assert READERS[reader](other) != READERS[reader](text)
