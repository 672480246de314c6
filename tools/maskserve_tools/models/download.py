"""Downloads over http and https that go on where they were cut off."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from maskserve.errors import ToolError
from maskserve.timed_http import Budget, Redirects, opener

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and the bytes there are, where that is known."""

Report = Callable[[str], None]

_CHUNK = 1 << 18
_MAX_SECONDS = 24 * 3600.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may cost.

    Attributes:
        timeout: seconds without an answer, or slower than `min_rate`, after which an attempt is given up.
        attempts: how often the transfer is begun or gone on with.
        pause: seconds before the second attempt; twice as many before each further one.
        min_rate: bytes in a second below which a transfer counts as stuck.
        max_bytes: the largest file that is accepted.
    """

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0
    min_rate: float = 1000.0
    max_bytes: int = 4 << 30


LIMITS = Limits()


class Unreachable(ToolError):
    """Nothing answers at the address: no network, a wrong host, or a refused connection."""


class Refused(ToolError):
    """The server answers, but not with the file."""


class _Interrupted(Exception):
    """The attempt failed in a way that another one may fix."""


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of a file that is there in part; kept beside it.

    Attributes:
        url: where it comes from.
        validator: its ETag or date, which tells whether the rest still belongs to it (RFC 9110, section 13.1.5).
        total: its size in bytes, where the server said it.
    """

    url: str
    validator: str
    total: int | None


def download(
    url: str, target: Path, *, limits: Limits = LIMITS, progress: Progress | None = None, report: Report | None = None
) -> None:
    """Fetch what is at `url` into the file `target`, going on with what is there from an earlier call.

    Args:
        url: http or https.
        target: the file; after an error it holds what arrived, for the next call to go on with.
        limits: what it may cost.
        progress: called as bytes arrive.
        report: called with a line for each interruption.

    Raises:
        Unreachable: nothing answers there.
        Refused: the server does not give the file.
        ToolError: the transfer fails again and again, or the file cannot be written.
    """
    for attempt in range(limits.attempts):
        if attempt:
            time.sleep(limits.pause * 2 ** (attempt - 1))
        try:
            return _attempt(url, target, limits, progress or (lambda received, total: None))
        except _Interrupted as error:
            reason = str(error)
            if report:
                report(f"{url}: {reason} (attempt {attempt + 1} of {limits.attempts})")
    kept = "; what has arrived is kept" if _note_path(target).is_file() else ""
    raise ToolError(f"{url} cannot be downloaded: {reason}, after {limits.attempts} attempts. Run it again later{kept}")


def discard(target: Path) -> None:
    """Remove a download, whole or in part."""
    target.unlink(missing_ok=True)
    _note_path(target).unlink(missing_ok=True)


def _attempt(url: str, target: Path, limits: Limits, progress: Progress) -> None:
    note = _read_note(target, url)
    have = target.stat().st_size if note else 0
    if note and have == note.total:
        return
    with _open(url, target, note, have, limits) as response:
        begin, total = _extent(response)
        if begin != 0 and (note is None or begin != have or total != note.total):
            discard(target)
            raise _Interrupted("the server sent another part than was asked for")
        if total is not None and total > limits.max_bytes:
            raise ToolError(f"{url} is {total} bytes long; {limits.max_bytes} are the most that is accepted")
        try:
            with target.open("r+b" if begin else "wb") as file:
                if begin == 0:
                    _write_note(target, url, response.headers, total)
                file.seek(begin)
                _copy(response, file, total, limits, progress)
        except OSError as error:
            raise ToolError(f"{target} cannot be written: {error.strerror}") from error


def _open(url: str, target: Path, note: _Note | None, have: int, limits: Limits) -> HTTPResponse:
    headers = {"User-Agent": "maskserve"}
    if note and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": note.validator}
    try:
        budget = Budget(time.monotonic() + _MAX_SECONDS, limits.max_bytes + (1 << 20), limits.timeout, limits.timeout)
        director = opener(budget, _Redirects())
        response = director.open(urllib.request.Request(url, headers=headers), timeout=limits.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            discard(target)
            raise _Interrupted("the server does not go on with the part that is there") from None
        if error.code in _PASSING:
            raise _Interrupted(f"the server answers {error.code} {_line(error.reason)}") from None
        raise Refused(f"{url} cannot be downloaded: the server answers {error.code} {_line(error.reason)}") from None
    except urllib.error.URLError as error:  # only connecting raises it; what fails later is a plain OSError
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise Unreachable(f"{url} cannot be reached: {reason}") from None
    except (InvalidURL, ValueError) as error:
        raise Refused(f"{url} cannot be downloaded: {_line(error)}") from None
    except (OSError, HTTPException) as error:
        raise _Interrupted(_in_words(error)) from None
    assert isinstance(response, HTTPResponse)
    return response


def _copy(response: HTTPResponse, file: IO[bytes], total: int | None, limits: Limits, progress: Progress) -> None:
    since, lately = time.monotonic(), 0
    while chunk := _read(response):
        file.write(chunk)
        lately += len(chunk)
        progress(file.tell(), total)
        if file.tell() > limits.max_bytes:
            raise ToolError(f"{response.url} is longer than the {limits.max_bytes} bytes that are accepted")
        if (passed := time.monotonic() - since) > limits.timeout:
            if lately < limits.min_rate * passed:
                raise _Interrupted(f"only {lately} bytes in {passed:.1f} s")
            since, lately = time.monotonic(), 0
    file.truncate()
    if total is not None and file.tell() != total:
        raise _Interrupted(f"the transfer ended after {file.tell()} of {total} bytes")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _Interrupted(_in_words(error)) from None


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the server does not answer in time"
    return f"the transfer was cut off ({_line(error) or type(error).__name__})"


def _line(words: object) -> str:
    return " ".join(str(words).split())


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Return where the answer begins within the file, and the size of the file if that is known."""
    if response.status == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None:
            raise Refused(f"{response.url}: the server sent a part of the file and did not say which")
        begin, total = found.groups()
        return int(begin), None if total == "*" else int(total)
    if response.status != 200:
        raise Refused(f"{response.url} cannot be downloaded: the server answers {response.status} {response.reason}")
    return 0, response.length


def _note_path(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _write_note(target: Path, url: str, headers: HTTPMessage, total: int | None) -> None:
    """Remember how to go on; without a validator nothing would tell a changed file, so then there is no note."""
    etag = headers.get("ETag", "")
    validator = etag if etag.startswith('"') else headers.get("Last-Modified")
    if validator:
        _note_path(target).write_text(json.dumps(asdict(_Note(url, validator, total))), encoding="utf-8")
    else:
        _note_path(target).unlink(missing_ok=True)


def _read_note(target: Path, url: str) -> _Note | None:
    try:
        note = _Note(**json.loads(_note_path(target).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return note if note.url == url and target.is_file() else None


class _Redirects(Redirects):
    """Follows redirects, but not out of an encrypted connection."""

    def redirect_request(  # noqa: PLR0917 - as the base class has it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(req.full_url, code, f"and leads from https to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
