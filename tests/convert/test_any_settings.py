"""Whatever stands in the settings of a model, they are used, or refused by an error of ours: tests by chance."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from maskserve.errors import MaskserveError
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_server.preprocess import Preprocessor
from tests.convert.written_settings import GOOD, folder_with
from tests.examples import examples

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["none", "Resize", "Permute", "NormalizeImage", "PadStride", "mean_std", 1, 2, 32, 0.5, [1, 2]]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def changed(content: Any, path: tuple[Any, ...], value: Any, how: str) -> Any:
    """A copy with one value replaced, removed or written twice."""
    if not path:
        return value
    whole = copy.deepcopy(content)
    parent = whole
    for key in path[:-1]:
        parent = parent[key]
    if how == "remove":
        del parent[path[-1]]
    elif how == "repeat" and isinstance(parent, list):
        parent.insert(path[-1], parent[path[-1]])
    else:
        parent[path[-1]] = value
    return whole


def check_only_our_errors(folder: Path, text: str) -> None:
    """Settings are used, or refused by an error of ours; what is used prepares an image."""
    try:
        read = PaddleFolder.open(folder_with(folder, text))
    except MaskserveError as error:
        assert "\n" not in error.message
        assert len(error.message) < 600
    else:
        assert read.labels
        Preprocessor(read.preprocess)


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(list(places(GOOD))),
    value=_json,
    how=st.sampled_from(["replace", "replace", "remove", "repeat"]),
)
def test_any_value_anywhere_is_fine_or_an_error_of_ours(
    tmp_path: Path, path: tuple[Any, ...], value: Any, how: str
) -> None:
    try:
        text = yaml.safe_dump(changed(GOOD, path, value, how), allow_unicode=True)
    except (ValueError, yaml.YAMLError):
        return  # an integer that Python does not print
    check_only_our_errors(tmp_path / "m", text)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, 1000), cut=st.integers(0, 5), piece=st.text(max_size=4) | st.sampled_from(list("\t&*!%@`|>:[]{}"))
)
@example(at=0, cut=0, piece="? ")
@example(at=0, cut=0, piece="%YAML 9.9\n---\n")
def test_any_text_is_fine_or_an_error_of_ours(tmp_path: Path, at: int, cut: int, piece: str) -> None:
    text = yaml.safe_dump(GOOD)
    at %= len(text)
    check_only_our_errors(tmp_path / "m", (text[:at] + piece + text[at + cut :]).encode("utf-8", "replace").decode())


MUTATIONS = [
    None, True, -1, 0, 1.5, float("nan"), float("inf"), 10**30, "", "False", "x", [], [None], ["a"], [0, 0], [1, 2, 3],
    {}, {"type": "Permute"},
]  # fmt: skip


def test_every_key_of_every_real_model_can_be_wrong(shared: Path, tmp_path: Path) -> None:
    """Each value replaced by each of a list of wrong ones, or left out."""
    files = sorted((shared / "models").glob("*/inference.yml"))
    assert len(files) > 20
    seen: set[str] = set()
    for file in files:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        content["label_list"] = content["label_list"][:2]
        if (key := yaml.safe_dump({**content, "Global": None})) in seen:
            continue
        seen.add(key)
        for path in places(content):
            check_only_our_errors(
                tmp_path / "m", yaml.safe_dump(changed(content, path, None, "remove") if path else None)
            )
            for value in MUTATIONS:
                check_only_our_errors(tmp_path / "m", yaml.safe_dump(changed(content, path, value, "replace")))
