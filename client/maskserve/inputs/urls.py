"""Addresses as people write them: made fit for HTTP, and shown without their password."""

from __future__ import annotations

import base64
import re
import unicodedata
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

_SAFE = "!#$%&'()*+,/:;=?@[]~"  # what is left as it is, as `requests` leaves it
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f]")
_DOTS = re.compile("[\u3002\uff0e\uff61]")
_LONGEST_LABEL = 63


def prepared(url: str) -> tuple[str, str | None]:
    """Return `url` in ASCII and without user and password, and the `Authorization` that these make.

    Spaces and other characters that HTTP does not take are percent-encoded (as UTF-8), hosts in other scripts become
    what DNS knows; what is encoded already stays. The fragment is left out.

    Raises:
        ValueError: it is no URL.
    """
    parts = urlsplit(_NOT_IN_URLS.sub(lambda found: quote(found[0]), url.strip()))
    userinfo, _, place = parts.netloc.rpartition("@")
    host, port = parts.hostname or "", port_of(parts)
    if not place.startswith("["):
        place = _ascii_host(unquote(host)) + ("" if port is None else f":{port}")
    address = urlunsplit((parts.scheme, place, _encoded(parts.path), _encoded(parts.query), ""))
    return address, _basic(userinfo) if userinfo else None


def shown(text: str) -> str:
    """Return `text` for a message: where it is a URL with user and password, these are left out."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    rest = text[scheme.end() :]
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in place:
        end = place.rindex("@")
    elif "@" in rest and ":" in place and not place.rpartition(":")[2].isdigit() and not place.endswith("]"):
        end = rest.rindex("@")  # a password with a slash, which makes no URL
    else:
        return text
    return f"{scheme[0]}***{rest[end:]}"


def is_address(text: str) -> bool:
    """Return whether `text` is an address of any kind, rather than a path."""
    return _SCHEME.match(text.lstrip()) is not None


def port_of(parts: SplitResult) -> int | None:
    """Return the port of a URL.

    Raises:
        ValueError: it is none. What is there instead stays unsaid: it may be a password with a slash.
    """
    try:
        return parts.port
    except ValueError:
        raise ValueError("its port is not a number from 0 to 65535") from None


def same_host(one: str, other: str) -> bool:
    """Return whether what is secret at URL `one` may be told at URL `other`: the same service, or its encrypted one."""
    first, second = urlsplit(one), urlsplit(other)
    if first.hostname != second.hostname:
        return False
    places = [(parts.scheme, parts.port or {"http": 80, "https": 443}.get(parts.scheme)) for parts in (first, second)]
    return places[0] == places[1] or places == [("http", 80), ("https", 443)]


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    return ".".join(map(_ascii_label, _DOTS.sub(".", unicodedata.normalize("NFKC", host.lower())).split(".")))


def _ascii_label(label: str) -> str:
    """Return the label as IDNA 2008 has it; Python's codec has that of 2003, where "straße" is another host."""
    if label.isascii():
        return label
    encoded = f"xn--{label.encode('punycode').decode('ascii')}"
    if len(encoded) > _LONGEST_LABEL:
        raise ValueError(f"{label!r} is too long for the name of a host")
    return encoded


def _encoded(text: str) -> str:
    return quote(_BARE_PERCENT.sub("%25", text), _SAFE, errors="surrogateescape")


def _basic(userinfo: str) -> str:
    user, _, password = userinfo.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(pair).decode('ascii')}"
