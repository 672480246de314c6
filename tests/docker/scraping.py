"""What a `/metrics` says, by series."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping

import pytest

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(url: str) -> Series:
    """The value of every series by its name and labels."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return parse(answer.read().decode())


def parse(text: str) -> Series:
    """Read an exposition."""
    parser = pytest.importorskip("prometheus_client.parser", reason="reading metrics needs maskserve[gateway]")
    samples = [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
