"""What a `/metrics` says, by series.

`prometheus_client.parser` would do, but gives every counter a name in `_total`, which Triton's do not have.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def scrape(url: str) -> Series:
    """The value of every series by its name and labels."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return parse(answer.read().decode())


def parse(text: str) -> Series:
    """Read an exposition."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [_LINE.fullmatch(line.rstrip()) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    return {
        (match["name"], frozenset(_LABEL.findall(match["labels"] or ""))): float(match["value"])
        for match in found
        if match
    }
