"""The markers of the tests: set from what a test says that it needs, never by hand.

A test says what it needs by its folder, by its fixtures, by `importorskip` and by `skipif`. So do the fixtures and
the module of the test. pyproject.toml explains the markers; `make quick` runs the tests that have none of them.
A test that starts a tritonserver or imports Paddle without the marker fails: see `Watch`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

# Words in the code of a test, of its fixtures or of its module, which are names of packages for `importorskip`.
_PACKAGES = {
    "pytriton": ("server",),
    "paddle": ("paddle",),
    "paddle2onnx": ("paddle",),
    "paddle.base.proto.framework_pb2": ("paddle",),
    "selenium.webdriver": ("browser",),
    "ray": ("ray",),
    "torch": ("slow",),
}
_REASONS = {"needs the embedded server": ("server",), "converting needs": ("paddle",)}
_FIXTURES = {"shared": ("shared",), "clinic": ()}
_FOLDERS = {
    "tests/chaos": ("server", "paddle"),
    "tests/client/decoding/test_pool.py": ("slow",),
    "tests/client/decoding/test_pool_pixels.py": ("slow",),
    "tests/client/transport/test_lost.py": ("slow",),
    "tests/compat": ("slow",),
    "tests/docs": ("slow",),
    "tests/deployment/test_message_limits.py": ("slow",),
    "tests/deployment/test_losing_a_server.py": ("server", "paddle"),
    "tests/end_to_end": ("server", "paddle"),
    "tests/gateway/test_contract.py": ("slow",),
    "tests/gateway/test_decoders.py": ("slow",),
    "tests/gateway/test_poison.py": ("slow",),
    "tests/gateway/test_real.py": ("slow",),
    "tests/kserve": ("server", "paddle"),
    "tests/local/test_fork.py": ("slow",),
    "tests/models": ("slow",),
    "tests/page/test_downloads.py": ("browser",),
    "tests/page/test_page.py": ("browser",),
    "tests/page/test_photos.py": ("browser",),
    "tests/rest_clients": ("server",),
    "tests/server/test_first_calls.py": ("slow",),
    "tests/tools/test_extras.py": ("slow",),
    "tests/tools/test_terminal.py": ("slow",),
    "tests/page/test_types.py": ("slow",),
}
# Tests that take long for another reason than what they need: processes that are waited for, large images.
_SLOW = {
    "test_a_body_that_nobody_reads",
    "test_a_bomb_is_refused",
    "test_a_changed_photo_is_another_one_to_the_network_by_one_level",
    "test_a_deadline_for_a_download",
    "test_a_deadline_for_the_whole_answer",
    "test_a_deadline_for_who_waits_asynchronously",
    "test_a_decoder_that_takes_too_much_memory_costs_one_image",
    "test_a_forked_child_never_frees_what_its_parent_loaded",
    "test_a_forked_process_goes_on",
    "test_a_forked_process_has_regions_of_its_own",
    "test_a_head_in_drips",
    "test_a_head_without_an_end",
    "test_a_huge_header_is_not_read_into_memory",
    "test_a_hundred_instances_have_labels_and_take_little_time",
    "test_a_request_that_timed_out_keeps_its_region_until_it_has_ended",
    "test_a_result_inside_itself_is_refused",
    "test_a_server_that_is_not_there_ends_the_run",
    "test_a_server_that_is_too_slow_is_given_up",
    "test_a_trace_goes_through_the_gateway_to_triton",
    "test_an_answer_that_is_never_read",
    "test_any_flipped_bit_is_a_sentence_or_does_not_matter",
    "test_any_text_is_fine_or_an_error_of_ours",
    "test_any_value_anywhere_is_fine_or_an_error_of_ours",
    "test_between_opposite_corners_rounding_decides_and_does_so_as_ever",
    "test_conversions_of_one_name_at_the_same_time_leave_one_whole_model",
    "test_ctrl_c_ends_the_program_while_the_source_is_silent",
    "test_few_file_descriptors",
    "test_filtered_maps_are_convolved_ones",
    "test_for_a_container",
    "test_images_in_memory_have_names_of_their_own",
    "test_it_answers_as_then_in_this_process",
    "test_it_is_done_where_it_pays",
    "test_it_listens_until_it_is_asked_to_stop",
    "test_kubernetes_resources_follow_their_schema",
    "test_labels_have_the_same_places",
    "test_lines_give_the_same_boxes",
    "test_many_windows_of_an_image_do_not_mix",
    "test_masks_of_one_resize",
    "test_masks_of_two_resizes",
    "test_members_are_bounded",
    "test_mutations_of_an_answer",
    "test_neighbours_of_a_poison_image_notice_nothing",
    "test_no_two_requests_share_a_region",
    "test_nothing_else_calls_the_decoders_of_opencv",
    "test_processes_that_want_the_same_model_fetch_it_once",
    "test_refusals_have_their_errors",
    "test_survivors_are_those_of_multiclass_nms3",
    "test_the_client_is_part_of_its_programs_trace",
    "test_the_peak",
    "test_the_same_answers_with_and_without",
    "test_the_walk_costs_little_for_twelve_megapixels",
    "test_thousands_of_parts_take_no_quadratic_time",
    "test_too_few_file_descriptors",
    "test_two_thousand_files_do_no_harm",
    "test_what_a_killed_conversion_left_goes_with_the_next_one",
    "test_what_happens_to_an_idle_decoder_costs_no_image",
    "test_what_never_ends_is_ended",
    "test_what_was_taken_is_bounded_whatever_the_caller_does_meanwhile",
}
_ROOT = Path(__file__).parent.parent
# An expression of `-m` that a test with one more marker never fits better.
_ONLY_NOT = re.compile(r"not \w+( and not \w+)*")
# Seconds for one test with its fixtures: a fixture of the session may convert the fifteen models of the shared data.
_LIMIT, _LONG_LIMIT = 120, 900


def mark(item: pytest.Function) -> None:
    """Give `item` the markers of what it needs, and its limit of time."""
    found = sorted(set(_needs(item)))
    for name in found:
        item.add_marker(getattr(pytest.mark, name))
    if item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(_LONG_LIMIT if found else _LIMIT))


def leaves_out(expression: str, path: Path) -> bool:
    """Return whether an expression of `-m` leaves out every test in a file or folder, by the folder alone."""
    if not _ONLY_NOT.fullmatch(expression):
        return False
    return not set(_of_folder(path)).isdisjoint(re.findall(r"not (\w+)", expression))


def _of_folder(path: Path) -> Iterator[str]:
    place = path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else ""
    for folder, names in _FOLDERS.items():
        if f"{place}/".startswith(f"{folder}/"):
            yield from names


def _needs(item: pytest.Function) -> Iterator[str]:
    yield from _of_folder(item.path)
    if item.originalname in _SLOW:
        yield "slow"
    for marker in item.iter_markers("skipif"):
        for reason, names in _REASONS.items():
            if str(marker.kwargs.get("reason", "")).startswith(reason):
                yield from names
    words = _all_words(inspect.unwrap(item.function).__code__) | _module_words(item.path)
    for fixture, definitions in item._fixtureinfo.name2fixturedefs.items():
        yield from _FIXTURES.get(fixture, ())
        words = words.union(*(_all_words(inspect.unwrap(each.func).__code__) for each in definitions))
    for package, names in _PACKAGES.items():
        if package in words:
            yield from names


@cache
def _module_words(path: Path) -> frozenset[str]:
    """Return the words that the module itself passes to `importorskip` or `need`, not those of its functions."""
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    return frozenset(_words(code, deeper=False)) if {"importorskip", "need"} & {*code.co_names} else frozenset()


@cache
def _all_words(code: CodeType) -> frozenset[str]:
    return frozenset(_words(code))


def _words(code: CodeType, deeper: bool = True) -> Iterator[str]:
    constants: list[Any] = list(code.co_consts)
    while constants:
        constant = constants.pop()
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple | frozenset):
            constants.extend(constant)
        elif isinstance(constant, CodeType) and deeper:
            constants.extend(constant.co_consts)


class Watch:
    """Watches what this process starts and imports, so that no marker is missing."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and arguments[0] in ("paddle", "paddle2onnx"):
            self._seen.add("paddle")
        elif event == "subprocess.Popen" and any("tritonserver" in str(word) for word in arguments[1]):
            self._seen.add("server")

    def forget(self) -> None:
        """Start anew, for the next test."""
        self._seen = set()

    def check(self, item: pytest.Item) -> None:
        """Fail `item` where it did what none of its markers says."""
        seen, self._seen = self._seen, set()
        missing = sorted(name for name in seen if item.get_closest_marker(name) is None)
        if missing:
            pytest.fail(f"the test needs the marker {', '.join(missing)}: see tests/markers.py", pytrace=False)
