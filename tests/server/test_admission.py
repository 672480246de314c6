"""What is taken in and what is refused: the queue, the pace, tickets, and the mailbox."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from maskserve.errors import InvalidParameter, ServerOverloaded
from maskserve.pace import Pace
from maskserve_server.admission import mailbox as mailbox_module
from maskserve_server.admission.bounded_queue import BoundedQueue, Turn
from maskserve_server.admission.follower import Follower
from maskserve_server.admission.front import ahead_of_core
from maskserve_server.admission.mailbox import Mailbox, report_done
from maskserve_server.admission.ticket import LENGTH, Ticket, server_key
from maskserve_server.spec import Queue


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, *, size: int = 8, seconds: float = 10.0, pace: float = 1.0, ahead: int = 1) -> BoundedQueue[str]:
    return BoundedQueue(Queue(size, seconds, pace), ahead, clock)


def offer(bounded: BoundedQueue[str], item: str, timeout: float | None = None, size: int = 1) -> None:
    bounded.offer(item, size=size, timeout=timeout)


def take(bounded: BoundedQueue[str]) -> Turn[str]:
    turn = bounded.take()
    assert turn is not None
    return turn


def number(turn: Turn[str]) -> int:
    assert turn.number is not None
    return turn.number


def test_requests_are_served_in_order(clock: Clock) -> None:
    bounded = made(clock)
    for item in "abc":
        offer(bounded, item)
    served = []
    for _ in range(3):
        turn = take(bounded)
        served.append(turn.waiting.item)
        bounded.done(number(turn), computed=True)
    assert served == ["a", "b", "c"]


def test_the_queue_is_bounded_and_says_when_to_come_back(clock: Clock) -> None:
    bounded = made(clock, size=4, pace=0.5)
    for item in "abcd":
        offer(bounded, item)
    with pytest.raises(ServerOverloaded, match="4 requests") as refused:
        offer(bounded, "e")
    assert refused.value.retry_after in (1, 2)  # from a half of the wait of 2 s to the whole of it


def test_who_would_wait_too_long_is_refused_at_once(clock: Clock) -> None:
    bounded = made(clock, seconds=3.0)
    for item in "abcd":  # the fourth waits for 3 s, which is allowed
        offer(bounded, item)
    with pytest.raises(ServerOverloaded):
        offer(bounded, "e")


def test_who_would_be_answered_too_late_is_refused_at_once(clock: Clock) -> None:
    bounded = made(clock)
    offer(bounded, "a")
    offer(bounded, "b", timeout=2.5)
    with pytest.raises(ServerOverloaded):
        offer(bounded, "c", timeout=3.0)  # it is expected after 3 s, which may be 4
    offer(bounded, "c", timeout=4.0)


def test_one_that_is_alone_is_always_tried(clock: Clock) -> None:
    """Whatever was learned when the machine was busy."""
    bounded = made(clock, pace=60.0)
    offer(bounded, "a", timeout=1.0)
    assert number(take(bounded))


def test_a_test_of_the_server_is_let_into_a_full_queue_and_goes_first(clock: Clock) -> None:
    """Else a health check under load could not tell a server that is busy from one whose core has died."""
    bounded = made(clock, size=2)
    offer(bounded, "a")
    offer(bounded, "b")
    for _ in range(4):
        bounded.offer("probe", size=1, timeout=None, probe=True)
    with pytest.raises(ServerOverloaded):  # strangers can say so, too: there are not many
        bounded.offer("probe", size=1, timeout=None, probe=True)
    assert take(bounded).waiting.item == "probe"


def test_who_calls_his_requests_tests_gets_every_other_turn_at_most(clock: Clock) -> None:
    """Strangers can say so, too: theirs would always go first, and nobody else's turn would come."""
    bounded = made(clock)
    offer(bounded, "a")
    offer(bounded, "b")
    served = []
    for _ in range(6):
        bounded.offer("probe", size=1, timeout=None, probe=True)
        turn = take(bounded)
        served.append(turn.waiting.item)
        bounded.done(number(turn), computed=True)
    assert served == ["probe", "a", "probe", "b", "probe", "probe"]


def test_a_test_of_the_server_is_answered_by_the_steps_behind_or_not_at_all(clock: Clock) -> None:
    """An error of this step would hide that the core hangs."""
    bounded = made(clock, pace=0.01)
    bounded.offer("probe", size=1, timeout=5.0, probe=True)
    clock.now += 1000
    turn = take(bounded)
    assert number(turn)
    assert turn.waiting.deadline is None


def test_images_that_wait_have_a_bound_in_bytes(clock: Clock) -> None:
    bounded = made(clock, size=100, seconds=1000.0, pace=0.01)
    for _ in range(4):
        offer(bounded, "large", size=64 << 20)
    with pytest.raises(ServerOverloaded):
        offer(bounded, "small")
    turn = take(bounded)
    offer(bounded, "small")
    assert turn.waiting.item == "large"


def test_whose_time_has_passed_gets_no_number(clock: Clock) -> None:
    bounded = made(clock, pace=0.1)
    for item in "abc":
        offer(bounded, item, timeout=None if item == "c" else 5.0)
    clock.now += 6
    late = [take(bounded), take(bounded)]
    assert [(turn.waiting.item, turn.number) for turn in late] == [("a", None), ("b", None)]
    turn = take(bounded)
    assert turn.waiting.item == "c"
    assert number(turn)


def test_what_would_be_computed_in_vain_is_not_computed(clock: Clock) -> None:
    bounded = made(clock, pace=1.0)
    offer(bounded, "a", timeout=5.0)
    offer(bounded, "b", timeout=5.0)
    clock.now += 4.5  # half a second is left, an image takes one
    assert take(bounded).number is None


def test_no_more_than_allowed_are_under_way(clock: Clock) -> None:
    bounded = made(clock, ahead=2)
    for item in "abc":
        offer(bounded, item)
    first, second = take(bounded), take(bounded)
    taken: queue.Queue[Turn[str]] = queue.Queue()
    thread = threading.Thread(target=lambda: taken.put(take(bounded)), daemon=True)
    thread.start()
    with pytest.raises(queue.Empty):
        taken.get(timeout=0.1)
    bounded.done(number(second), computed=True)
    assert taken.get(timeout=5).waiting.item == "c"
    bounded.done(number(first), computed=True)


def test_an_answer_that_never_comes_does_not_close_the_queue(clock: Clock) -> None:
    """A step behind this one has died: those after it are to find out for themselves."""
    bounded = made(clock, pace=0.1)
    offer(bounded, "a")
    offer(bounded, "b")
    take(bounded)
    clock.now += 3
    turn = take(bounded)
    assert turn.waiting.item == "b"
    bounded.done(12345, computed=True)  # of nobody


def test_who_asks_this_step_alone_does_not_hold_the_others_up_for_long(clock: Clock) -> None:
    """The step lets a few go on, and waits for those of them that were never sent to the next one."""
    bounded = made(clock, pace=0.1, ahead=3)
    for item in ("stranger", "stranger", "a", "b", "c"):
        offer(bounded, item)
    strangers, first = [take(bounded), take(bounded)], take(bounded)
    clock.now += 0.3
    bounded.done(number(first), computed=True)
    assert take(bounded).waiting.item == "b"
    clock.now += 1.0  # it was overtaken; one that nobody has overtaken would have three seconds
    assert take(bounded).waiting.item == "c"
    assert all(turn.waiting.item == "stranger" for turn in strangers)


def test_a_test_of_the_server_goes_on_whoever_holds_the_places_behind(clock: Clock) -> None:
    """Else a stranger who lets nobody on has the server taken for one that hangs, and started again."""
    bounded = made(clock, pace=1.0, ahead=2)
    offer(bounded, "stranger")
    offer(bounded, "stranger")
    take(bounded), take(bounded)
    bounded.offer("probe", size=1, timeout=5.0, probe=True)
    assert take(bounded).waiting.item == "probe"


def test_closing_ends_who_waits(clock: Clock) -> None:
    bounded = made(clock)
    taken: queue.Queue[Turn[str] | None] = queue.Queue()
    threading.Thread(target=lambda: taken.put(bounded.take()), daemon=True).start()
    bounded.close()
    assert taken.get(timeout=5) is None


def test_the_pace_is_learned_and_one_slow_answer_says_little() -> None:
    pace = Pace()
    assert pace.seconds == 0
    for index in range(30):
        pace.answered(begun=0.0, now=1.0 + index)  # all came at once: an answer a second
    assert pace.seconds == pytest.approx(1.0)
    pace.answered(begun=30.0, now=130.0)
    assert pace.seconds < 2
    for index in range(40):
        pace.answered(begun=1000.0 + index, now=1000.25 + index)  # alone: each took a quarter of a second
    assert pace.seconds == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize(("seconds", "size", "longest"), [(0.0, 256, 10.0), (0.1, 200, 10.0), (6.0, 8, 24.0)])
def test_a_queue_is_sized_by_what_an_image_takes(seconds: float, size: int, longest: float) -> None:
    sized = Queue.sized(seconds)
    assert (sized.size, sized.seconds) == (size, longest)


@pytest.mark.parametrize("wrong", [(0, 1.0, 0.0), (1, 0.0, 0.0), (1, float("nan"), 0.0), ("9", 1.0, 0.0), (1, 1.0, -1)])
def test_a_queue_that_makes_no_sense_is_refused(wrong: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="queue"):
        Queue(*wrong)


TICKET = Ticket(mailbox=7, number=3, deadline=0, height=480, width=640)


def test_a_ticket_is_read_with_the_key_of_its_server_only() -> None:
    tensor = TICKET.sealed(b"key")
    assert tensor.shape == (LENGTH,)
    assert Ticket.opened(tensor, b"key", "people") == TICKET
    with pytest.raises(InvalidParameter, match="call people"):
        Ticket.opened(tensor, b"other", "people")


@pytest.mark.parametrize("index", range(LENGTH))
def test_a_ticket_that_was_changed_is_refused(index: int) -> None:
    tensor = TICKET.sealed(b"key")
    tensor[index] += 1
    with pytest.raises(InvalidParameter, match="a step of people"):
        Ticket.opened(tensor, b"key", "people")


@pytest.mark.parametrize(
    "tensor",
    [None, np.zeros(LENGTH, np.int64), np.zeros(0, np.int64), np.zeros((LENGTH, 2), np.int64), np.zeros(LENGTH)],
)
def test_what_is_no_ticket_is_refused(tensor: np.ndarray | None) -> None:
    with pytest.raises(InvalidParameter):
        Ticket.opened(tensor, b"key", "people")


def test_a_ticket_expires() -> None:
    assert not TICKET.expired
    assert Ticket(7, 3, 1, 480, 640).expired


def test_all_processes_of_one_server_have_the_same_key() -> None:
    assert server_key() == server_key()
    assert len(server_key()) == 32


@pytest.fixture
def heard() -> Iterator[tuple[Mailbox, queue.Queue[tuple[int, bool]]]]:
    messages: queue.Queue[tuple[int, bool]] = queue.Queue()
    mailbox = Mailbox(lambda number, computed: messages.put((number, computed)))
    yield mailbox, messages
    mailbox.close()


def test_the_first_step_hears_of_what_is_done(
    heard: tuple[Mailbox, queue.Queue[tuple[int, bool]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_module, "_SECONDS", 30.0)  # a busy machine: the mailbox holds ten messages
    mailbox, messages = heard
    for number in range(50):
        report_done(Ticket(mailbox.address, number, 0, 1, 1), computed=number % 2 == 0)
    assert [messages.get(timeout=30) for _ in range(50)] == [(number, number % 2 == 0) for number in range(50)]


def test_a_first_step_that_is_gone_is_no_trouble() -> None:
    report_done(TICKET, computed=True)


@pytest.mark.parametrize(
    ("config", "ahead"),
    [
        ('instance_group {\n  count: 1\n  kind: KIND_CPU\n}\nbackend: "python"\n', 3),
        ("instance_group [{ count: 3 kind: KIND_CPU }]", 5),
        ("max_batch_size: 8\ninstance_group {\n  count: 1\n}\n", 10),
        ("instance_group {\n  rate_limiter {\n    resources {\n    }\n  }\n  count: 2\n}\n", 4),
        (None, 3),
    ],
)
def test_the_core_is_kept_busy(tmp_path: Path, config: str | None, ahead: int) -> None:
    if config is not None:
        (tmp_path / "people.core").mkdir()
        (tmp_path / "people.core" / "config.pbtxt").write_text(config, encoding="utf-8")
    assert ahead_of_core(tmp_path, "people") == ahead


def test_a_ticket_is_good_for_one_request_of_each_step() -> None:
    """Who asks the first step directly has a good one, and could go past the queue with it as often as he likes."""
    stage, backend = MagicMock(return_value={}), MagicMock()
    backend.TritonError.side_effect = lambda text, kind: text
    backend.InferenceResponse.side_effect = lambda outputs, error=None: error
    sealed = [Ticket(1, number, 0, 4, 6).sealed(server_key()) for number in (1, 2)]
    backend.get_input_tensor_by_name.side_effect = lambda request, name: SimpleNamespace(as_numpy=lambda: request.array)
    stage.inputs = ()
    follower = Follower(backend, stage, "model", MagicMock())
    requests = [SimpleNamespace(array=array, is_cancelled=lambda: False) for array in (*sealed, sealed[0])]
    first, second, again = follower.respond(requests)
    assert (first, second) == (None, None)
    assert "this is a step of model and takes requests of model only" in again
    assert stage.call_count == 2
