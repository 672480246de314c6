"""constraints.txt: the versions that the tests run with hold what pyproject.toml demands, and name no package index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

tomllib = pytest.importorskip("tomllib", reason="reading TOML needs Python 3.11")
# These have environments of their own; pip cannot resolve them together with the others.
ALONE = {"readers", "train", "label-studio", "fiftyone"}


@cache
def _locked() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _demanded() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [demands for name, demands in project["optional-dependencies"].items() if name not in ALONE]
    for text in [*project["dependencies"], *(demand for demands in extras for demand in demands)]:
        if not text.startswith("maskserve["):
            yield Requirement(text)


@pytest.mark.parametrize("demand", list(_demanded()), ids=str)
def test_a_requirement_is_locked_to_a_version_that_it_allows(demand: Requirement) -> None:
    found = [each for each in _locked() if canonicalize_name(each.name) == canonicalize_name(demand.name)]
    assert found, f"constraints.txt has no {demand.name}: run `make lock`"
    for each in found:
        (version,) = each.specifier
        assert version.operator == "=="
        assert demand.specifier.contains(version.version), f"{each} is not {demand}: run `make lock`"


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_numpy_is_the_one_of_the_embedded_server(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    here = [each for each in _locked() if each.marker is None or each.marker.evaluate(environment)]
    assert [str(each.specifier) for each in here if each.name == "numpy"] == ["==1.26.4"]
    assert len({each.name for each in here}) == len(here), "a package has one version on each Python"


def test_no_index_is_named() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"^\s*-|://|@ ", text, re.MULTILINE)


def test_a_commit_is_checked_by_the_ruff_that_is_locked() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    found = re.search(r"ruff-pre-commit\s+rev: v(\S+)", hooks)
    assert found is not None
    assert [str(each.specifier) for each in _locked() if each.name == "ruff"] == [f"=={found[1]}"]
