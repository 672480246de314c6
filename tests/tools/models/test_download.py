"""Downloads over a line and from a server that fail in every way."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from http.client import HTTPMessage
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskserve.errors import ToolError
from maskserve_tools.models import download as module
from maskserve_tools.models.download import Refused, Unreachable, discard, download
from tests.client.transport import hostile
from tests.examples import examples
from tests.tools.models.conftest import (
    OFFICIAL,
    QUICK,
    Behaviour,
    Handler,
    Site,
    cut_off,
    drip,
    serve,
    silent,
    status,
    whole,
)

HALF = len(OFFICIAL) // 2


@pytest.fixture
def get(site: Site, tmp_path: Path) -> Callable[[], bytes]:
    """Downloads the site's file and returns what arrived."""

    def get() -> bytes:
        download(f"{site.url}/file", tmp_path / "file", limits=QUICK)
        return (tmp_path / "file").read_bytes()

    return get


def test_a_file_arrives_and_its_progress_is_told(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(f"{site.url}/file", tmp_path / "file", progress=lambda *now: seen.append(now))
    assert (tmp_path / "file").read_bytes() == OFFICIAL
    assert seen == sorted(seen)
    assert seen[-1] == (len(OFFICIAL), len(OFFICIAL))


@pytest.mark.parametrize("after", [0, 1, HALF, len(OFFICIAL) - 1])
def test_what_is_cut_off_goes_on_where_it_stopped(after: int, site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [cut_off(after)]
    assert get() == OFFICIAL
    assert site.ranges() == [None, f"bytes={after}-" if after else None]
    assert site.answers == [200, 206 if after else 200]


def test_a_later_call_goes_on_too(site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [cut_off(HALF), status(503), status(503)]
    with pytest.raises(ToolError, match=r"503 .*after 3 attempts.*what has arrived is kept"):
        get()
    assert get() == OFFICIAL
    assert site.ranges()[-1] == f"bytes={HALF}-"


def test_what_has_arrived_whole_is_not_asked_for_again(site: Site, get: Callable[[], bytes]) -> None:
    assert get() == get() == OFFICIAL
    assert len(site.requests) == 1


def test_a_discarded_download_begins_anew(site: Site, get: Callable[[], bytes], tmp_path: Path) -> None:
    get()
    discard(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    get()
    assert site.ranges() == [None, None]


def test_each_interruption_is_reported(site: Site, tmp_path: Path) -> None:
    site.behaviours = [cut_off(HALF), status(500)]
    lines: list[str] = []
    download(f"{site.url}/file", tmp_path / "file", limits=QUICK, report=lines.append)
    assert f"ended after {HALF} of {len(OFFICIAL)} bytes (attempt 1 of 3)" in lines[0]
    assert "500" in lines[1]


def test_a_server_without_ranges_sends_it_all_again(site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [cut_off(HALF), whole]
    assert get() == OFFICIAL


def test_a_file_that_changed_in_between_is_not_mixed_with_the_old_one(site: Site, get: Callable[[], bytes]) -> None:
    def change_and_serve(handler: Handler) -> None:
        site.content, site.etag = bytes(reversed(OFFICIAL)), '"two"'
        serve(handler)

    site.behaviours = [cut_off(HALF), change_and_serve]
    assert get() == bytes(reversed(OFFICIAL))


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_gone_on_with(etag: str, site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [cut_off(HALF, ETag=etag)]
    assert get() == OFFICIAL
    assert site.ranges() == [None, None]


def test_a_date_is_validator_enough(site: Site, get: Callable[[], bytes]) -> None:
    site.etag = "Sun, 06 Nov 1994 08:49:37 GMT"
    site.behaviours = [cut_off(HALF, ETag="", **{"Last-Modified": site.etag})]
    assert get() == OFFICIAL
    assert site.ranges() == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "content_range",
    [f"bytes 7-{len(OFFICIAL) - 1}/{len(OFFICIAL)}", f"bytes {HALF}-{len(OFFICIAL)}/{len(OFFICIAL) + 1}"],
)
def test_a_part_that_does_not_fit_is_not_used(content_range: str, site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [cut_off(HALF), status(206, **{"Content-Range": content_range})]
    assert get() == OFFICIAL
    assert site.ranges() == [None, f"bytes={HALF}-", None]


def test_a_range_that_cannot_be_satisfied_begins_anew(site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [cut_off(HALF), status(416)]
    assert get() == OFFICIAL


def test_a_length_that_is_too_large_is_no_success(site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [cut_off(len(OFFICIAL), **{"Content-Length": str(len(OFFICIAL) + 1)})] * QUICK.attempts
    with pytest.raises(ToolError, match=f"ended after {len(OFFICIAL)} of {len(OFFICIAL) + 1} bytes"):
        get()


def test_chunks_arrive_too_and_missing_ones_are_noticed(site: Site, get: Callable[[], bytes]) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(OFFICIAL), OFFICIAL)

    def chunked(end: bytes) -> Behaviour:
        return lambda handler: handler.answer(200, {"Transfer-Encoding": "chunked"}, chunk + end)

    site.behaviours = [chunked(b""), chunked(b"0\r\n\r\n")]
    assert get() == OFFICIAL
    assert len(site.requests) == 2


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_final(code: int, site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [status(code)]
    with pytest.raises(Refused, match=f"{site.url}/file cannot be downloaded: the server answers {code}"):
        get()
    assert len(site.requests) == 1


@pytest.mark.parametrize("code", [204, 206])
def test_a_success_without_the_file_is_a_refusal(code: int, site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [status(code)]
    with pytest.raises(Refused):
        get()


@pytest.mark.parametrize("length", [{"Content-Length": str(QUICK.max_bytes + 1)}, {"Connection": "close"}])
def test_a_file_that_is_too_large_is_not_taken(length: dict[str, str], site: Site, tmp_path: Path) -> None:
    limits = replace(QUICK, max_bytes=HALF)
    site.behaviours = [lambda handler: handler.answer(200, length, OFFICIAL)]
    with pytest.raises(ToolError, match=f"{HALF}.* accepted"):
        download(f"{site.url}/file", tmp_path / "file", limits=limits)


@pytest.mark.parametrize(("behaviour", "words"), [(silent, "does not answer in time"), (drip, "only .* bytes in")])
def test_a_server_that_is_too_slow_is_given_up(
    behaviour: Behaviour, words: str, site: Site, get: Callable[[], bytes]
) -> None:
    site.behaviours = [behaviour] * QUICK.attempts
    with pytest.raises(ToolError, match=words):
        get()
    assert len(site.requests) == QUICK.attempts


def test_who_refuses_connections_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can be there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(Unreachable, match=f"{url} cannot be reached: Connection refused"):
            download(url, tmp_path / "file", limits=QUICK)


def test_who_hangs_up_without_a_word_is_asked_again(site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [lambda handler: None]
    assert get() == OFFICIAL


def test_a_redirect_is_followed_and_a_circle_is_not(site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [status(302, Location="/elsewhere")]
    assert get() == OFFICIAL
    assert [path for path, _ in site.requests] == ["/models/file", "/elsewhere"]


def test_redirects_in_a_circle_are_an_error(site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [status(302, Location="/models/file")] * 50
    with pytest.raises(Refused, match=r"302 .*infinite loop"):
        get()
    assert len(site.requests) < 20


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/file"])
def test_redirects_lead_to_the_web_only(target: str, site: Site, get: Callable[[], bytes]) -> None:
    site.behaviours = [status(302, Location=target)]
    with pytest.raises(ToolError, match="cannot be"):
        get()


def test_redirects_do_not_leave_https() -> None:
    request = urllib.request.Request("https://example.org/a")
    headers = HTTPMessage(Message().policy)
    with pytest.raises(HTTPError, match="from https to http://"):
        module._Redirects().redirect_request(request, BytesIO(), 302, "Found", headers, "http://example.org/a")


def test_a_file_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"nowhere/file cannot be written: No such file"):
        download(f"{site.url}/file", tmp_path / "nowhere" / "file", limits=QUICK)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, len(OFFICIAL) - 1), max_size=QUICK.attempts - 1), st.booleans())
def test_any_row_of_cuts_ends_in_the_same_bytes(
    site: Site, get: Callable[[], bytes], tmp_path: Path, cuts: list[int], ranges: bool
) -> None:
    discard(tmp_path / "file")
    site.behaviours = [cut_off(cut) for cut in cuts] + ([] if ranges else [whole])
    assert get() == OFFICIAL


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_the_body_of_a_redirect_is_not_read(code: int, site: Site, tmp_path: Path) -> None:
    """It may be endless; the file is where the redirect leads."""
    head = f"HTTP/1.1 {code} Gone\r\nLocation: {site.url}/file\r\n\r\n".encode()
    with hostile.server(lambda: hostile.endless(b"x", head)) as (url, taken):
        download(f"{url}/file", tmp_path / "file", limits=QUICK)
        assert (tmp_path / "file").read_bytes() == OFFICIAL
    assert max(taken) < 20 << 20  # what the sockets took


@pytest.mark.parametrize("text", [b"X-A: b\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["headers", "interim answers"])
@pytest.mark.parametrize("say", [hostile.dripping, hostile.endless])
def test_a_head_without_an_end(text: bytes, say: Callable[..., Iterator[bytes]], tmp_path: Path) -> None:
    limits = replace(QUICK, timeout=0.5, attempts=1)
    after = b"HTTP/1.1 200 OK\r\n" if text.startswith(b"X") else b""
    with hostile.server(lambda: say(text, after)) as (url, taken):
        begun = time.monotonic()
        with pytest.raises(ToolError, match="cannot be downloaded"):
            download(f"{url}/file", tmp_path / "file", limits=limits)
        assert time.monotonic() - begun < 10
    assert max(taken) < 20 << 20
