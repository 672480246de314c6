"""Settings of a model that somebody wrote: what is wrong is a sentence, and what is left out has its default."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve.errors import ToolError
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_server.preprocess import Preprocessor
from tests.convert.written_settings import GOOD, NORMALIZE, PAD, PERMUTE, RESIZE, folder_with


def opened(path: Path, content: Any) -> PaddleFolder:
    return PaddleFolder.open(folder_with(path, yaml.safe_dump(content)))


def with_step(index: int, **changes: Any) -> dict[str, Any]:
    content = copy.deepcopy(GOOD)
    content["Preprocess"][index] |= changes  # type: ignore[index]
    return content


def test_good_settings_are_read(tmp_path: Path) -> None:
    folder = opened(tmp_path / "m", GOOD)
    assert folder.labels == ("cat", "dog")
    assert folder.model_name == "SOLOv2"
    assert folder.preprocess[0] == {"type": "Resize", "target_size": [64, 96], "keep_ratio": True, "interp": 2}
    Preprocessor(folder.preprocess)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a threshold that is no number": ({**GOOD, "draw_threshold": float("nan")}, r"draw_threshold is nan; .*0 to 1"),
    "a threshold in quotes": ({**GOOD, "draw_threshold": "0.5"}, r"draw_threshold is '0\.5'; it must be a number"),
    "a threshold of true": ({**GOOD, "draw_threshold": True}, "draw_threshold is True"),
    "a threshold above 1": ({**GOOD, "draw_threshold": 50}, "draw_threshold is 50; it must be a number from 0 to 1"),
    "an empty threshold": ({**GOOD, "draw_threshold": None}, "draw_threshold is empty"),
    "std of 0": (with_step(NORMALIZE, std=0), r"\[1\] \(NormalizeImage\): std is 0; .*from 1e-06 to"),
    "std with a 0": (with_step(NORMALIZE, std=[0.2, 0, 0.2]), r"std is \[0\.2, 0, 0\.2\]"),
    "std of NaN": (with_step(NORMALIZE, std=[0.2, float("nan"), 0.2]), "std is"),
    "mean of four": (with_step(NORMALIZE, mean=[1, 2, 3, 4]), "mean is .*a list of three"),
    "mean of words": (with_step(NORMALIZE, mean=["a", "b", "c"]), "mean is"),
    "mean as a map": (with_step(NORMALIZE, mean={"r": 1}), "mean is"),
    "mean without end": (with_step(NORMALIZE, mean=[0, 0, float("inf")]), "mean is"),
    "an unknown norm_type": (with_step(NORMALIZE, norm_type="minmax"), "norm_type is 'minmax'; .*mean_std or none"),
    "is_scale as a number": (with_step(NORMALIZE, is_scale=1), "is_scale is 1; it must be true or false"),
    "keep_ratio in quotes": (with_step(RESIZE, keep_ratio="False"), "keep_ratio is 'False'; .*without quotes"),
    "an unknown interp": (with_step(RESIZE, interp=7), "interp is 7; .*from 0 to 4"),
    "interp in words": (with_step(RESIZE, interp="SHARP"), "interp is 'SHARP'; .*LANCZOS4"),
    "no target_size": ({**GOOD, "Preprocess": [{"type": "Resize"}, {"type": "Permute"}]}, "target_size is empty"),
    "target_size of 0": (with_step(RESIZE, target_size=[0, 64]), r"target_size is \[0, 64\]; .*from 1 to 16384"),
    "target_size below 0": (with_step(RESIZE, target_size=-1), "target_size is -1"),
    "target_size of three": (with_step(RESIZE, target_size=[3, 64, 64]), "target_size is"),
    "target_size in fractions": (with_step(RESIZE, target_size=[64.5, 64]), "target_size is"),
    "target_size of words": (with_step(RESIZE, target_size="640"), "target_size is '640'"),
    "target_size of true": (with_step(RESIZE, target_size=True), "target_size is True"),
    "target_size beyond all": (with_step(RESIZE, target_size=[10**9, 10**9]), "target_size is"),
    "stride in words": (with_step(PAD, stride="32"), "stride is '32'"),
    "a setting that is not one": (with_step(RESIZE, size_divisor=32), "'size_divisor' is not a setting of it; it has "),
    "an unknown step": ({**GOOD, "Preprocess": [{"type": "WarpAffine"}]}, "WarpAffine.*it knows Resize, Norm"),
    "a step that is a word": ({**GOOD, "Preprocess": ["Resize"]}, r"Preprocess\[0\] is 'Resize'; .*`type`"),
    "a step without a type": ({**GOOD, "Preprocess": [{"target_size": 64}]}, "a map with `type`"),
    "steps as a map": ({**GOOD, "Preprocess": {"Resize": 64}}, "Preprocess is .*a list of steps"),
    "labels as a map": ({**GOOD, "label_list": {0: "cat"}}, "label_list is .*a list of names"),
    "labels as a word": ({**GOOD, "label_list": "cat"}, "label_list is 'cat'"),
    "a label that is a list": ({**GOOD, "label_list": ["cat", ["dog"]]}, "label_list is"),
    "a label that is empty": ({**GOOD, "label_list": ["cat", ""]}, "class 1 has no name"),
    "a label of spaces": ({**GOOD, "label_list": ["cat", " \n"]}, "class 1 has no name"),
    "a label with a control character": ({**GOOD, "label_list": ["cat", "d\0g"]}, "class 1, .*control character"),
    "Global as a list": ({**GOOD, "Global": ["SOLOv2"]}, "Global is .*must be a map"),
    "a name that is a list": ({**GOOD, "Global": {"model_name": ["a"]}}, "model_name is"),
    "arch as a list": ({**GOOD, "arch": ["RCNN"]}, r"arch is \['RCNN'\]; it must be a word"),
    "mask as a word": ({**GOOD, "mask": "no"}, "mask is 'no'; it must be true or false"),
    "use_dynamic_shape as a number": ({**GOOD, "use_dynamic_shape": 1}, "use_dynamic_shape is 1"),
}


@pytest.mark.parametrize(("content", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_named_with_what_is_allowed(content: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=words) as raised:
        opened(tmp_path / "m", content)
    assert "inference.yml" in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((RESIZE, PAD, NORMALIZE, PERMUTE), "PadStride stands before Permute"),
        ((PERMUTE, RESIZE, NORMALIZE), "Resize stands after Permute"),
        ((RESIZE, PERMUTE, NORMALIZE), "NormalizeImage stands after Permute"),
        ((RESIZE, NORMALIZE), "exactly once"),
        ((NORMALIZE, PERMUTE), "exactly once"),
        ((RESIZE, RESIZE, PERMUTE), "exactly once"),
    ],
)
def test_an_order_that_cannot_work_is_refused(order: tuple[int, ...], words: str, tmp_path: Path) -> None:
    steps = [GOOD["Preprocess"][index] for index in order]  # type: ignore[index]
    with pytest.raises(ToolError, match=words):
        opened(tmp_path / "m", {**GOOD, "Preprocess": steps})


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
BROKEN: dict[str, tuple[str | bytes, str]] = {
    "an empty file": ("", "does not hold the settings .*empty"),
    "a comment": ("# nothing\n", "does not hold the settings"),
    "a list": ("- a\n", "does not hold the settings"),
    "a tab": ("Global:\n\tmodel_name: a\n", "not valid YAML: line 2, column 1: .*indent with spaces"),
    "another encoding": ("label_list: [café]".encode("latin-1"), "is not UTF-8: see line 1; save it in UTF-8"),
    "UTF-16": ("label_list: [a]".encode("utf-16"), "is not UTF-8"),
    "zeros": (b"\0" * 100, "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not valid YAML"),
    "a key twice": ("label_list: [a]\narch: a\nlabel_list: [b]\n", "'label_list' twice, in line 1 and in line 3"),
    "a key twice within": ("Global: {model_name: a, model_name: b}", "'model_name' twice"),
    "a bomb": (BOMB, "multiply to too many"),
    "a list that holds itself": ("a: &a [*a]", "multiply to too many"),
    "nested deeply": ("[" * 3000, "not valid YAML"),
    "a day that there is not": ("a: 2001-99-99", "not valid YAML"),
    "a type that is none": ("a: !!bool perhaps", "not valid YAML"),
    "an object": ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    "an anchor that is none": ("a: *b", "not valid YAML"),
    "a key that is a list": ("? [a]\n: 1\n", "the key in line 1 is not a word"),
    "too much": ("a: " + "x" * (5 << 20), "more than 4 MiB"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_settings_is_said_so(text: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=words) as raised:
        PaddleFolder.open(folder_with(tmp_path / "m", text))
    assert "\n" not in raised.value.message


def test_a_byte_order_mark_and_shared_lists_are_fine(tmp_path: Path) -> None:
    """PyYAML itself writes a list that is used twice with an anchor."""
    numbers = [0.5, 0.5, 0.5]
    text = yaml.safe_dump(with_step(NORMALIZE, mean=numbers, std=numbers))
    assert "&id001" in text
    folder = PaddleFolder.open(folder_with(tmp_path / "m", b"\xef\xbb\xbf" + text.encode()))
    assert folder.preprocess[1]["std"] == numbers


@pytest.mark.parametrize("label", ["d\nog", "d\tog", "d\u2028og", "cat", "'d', \"og\"", "狗"])
def test_a_name_may_be_odd_or_a_second_one(label: str, tmp_path: Path) -> None:
    folder = opened(tmp_path / "m", {**GOOD, "label_list": ["cat", label]})
    assert folder.labels == ("cat", label)


def test_labels_are_what_is_written(tmp_path: Path) -> None:
    text = yaml.safe_dump({**GOOD, "label_list": None}).replace(
        "label_list: null", "label_list:\n- no\n- 007\n- 1.10\n- 行人\n- 'on'\n- null\n- 2001-01-01\n"
    )
    folder = PaddleFolder.open(folder_with(tmp_path / "m", text))
    assert folder.labels == ("no", "007", "1.10", "行人", "on", "null", "2001-01-01")


def test_what_is_left_out_means_what_paddlex_means(tmp_path: Path) -> None:
    steps = [{"type": "Resize", "target_size": 64}, {"type": "NormalizeImage", "norm_type": "none"}]
    steps += [{"type": "Permute"}, {"type": "PadStride"}]
    resize, normalize, _, pad = opened(tmp_path / "m", {**GOOD, "Preprocess": steps}).preprocess
    assert resize == {"type": "Resize", "target_size": [64, 64], "keep_ratio": False, "interp": 2}
    assert normalize["mean"] == [0.485, 0.456, 0.406]
    assert normalize["std"] == [0.229, 0.224, 0.225]
    assert normalize["is_scale"] is True
    assert pad["stride"] == 32


def test_norm_type_none_keeps_mean_and_std_as_in_paddlex(tmp_path: Path) -> None:
    folder = opened(tmp_path / "m", with_step(NORMALIZE, norm_type="none", mean=[0.1, 0.2, 0.3]))
    assert folder.preprocess[1]["mean"] == [0.1, 0.2, 0.3]


def test_a_file_that_may_not_be_read_is_said_so(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "m", yaml.safe_dump(GOOD))
    (folder / "inference.yml").unlink()
    (folder / "inference.yml").symlink_to(folder / "inference.yml.real")
    with pytest.raises(ToolError, match=r"has no inference\.yml"):
        PaddleFolder.open(folder)
