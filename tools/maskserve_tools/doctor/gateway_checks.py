"""What a running gateway offers to whoever reaches it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from maskserve_tools.doctor.finding import Finding, ok, unknown, warning
from maskserve_tools.doctor.port_checks import Address, listening_addresses

USUAL_PORT = 8080
_SECONDS = 5.0
_MOST_BYTES = 1 << 20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Info = dict[str, Any]


def ask_info(url: str) -> Info | None:
    """Return what a gateway says of itself; None where no gateway answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError, HTTPException, ValueError):
        with opener.open(f"{url.rstrip('/')}/info", timeout=_SECONDS) as response:
            content = json.loads(response.read(_MOST_BYTES))
        if isinstance(content, dict) and isinstance(content.get("apiKeyRequired"), bool):
            return content
    return None


def examine_gateway(
    url: str | None,
    ask: Callable[[str], Info | None] = ask_info,
    listening: Callable[[int], Iterable[Address]] = listening_addresses,
) -> list[Finding]:
    """Look at a gateway; without a URL at one on this machine's usual port, where there is one.

    Returns:
        the findings; none where there is no gateway and nobody named one.
    """
    if url is None:
        if not set(listening(USUAL_PORT)):
            return []
        address = f"http://127.0.0.1:{USUAL_PORT}"
        info = ask(address)
        return [] if info is None else _findings(address, info, listening)
    info = ask(url)
    if info is None:
        why = "nothing could be looked at"
        return [unknown(f"no gateway answers at {url}", why, "give its address, such as http://localhost:8080")]
    return _findings(url, info, listening)


def _findings(url: str, info: Info, listening: Callable[[int], Iterable[Address]]) -> list[Finding]:
    parts = urlsplit(url)
    local = parts.hostname in _LOOPBACK
    addresses = set(listening(parts.port or (443 if parts.scheme == "https" else 80))) if local else set()
    outside = sorted(str(address) for address in addresses if not address.is_loopback)
    findings = [ok(f"the gateway at {url} answers for the model {info.get('model', '')!s:.100}")]
    reached = bool(outside) or not local
    where = f"it listens on {', '.join(outside)}" if outside else f"it is asked at {parts.hostname}"
    if not reached:
        return [*findings, ok("only programs on this machine reach the gateway")]
    if info["apiKeyRequired"]:
        findings.append(ok(f"{where}, and wants an API key"))
    else:
        why = "everybody who reaches it can use the model, and fill its queue"
        fix = (
            "set MASKSERVE_API_KEY or --api-key-file, or let it listen on 127.0.0.1 behind a proxy that checks callers"
        )
        findings.append(warning(f"{where}, and wants no API key", why, fix))
    if parts.scheme != "https":
        why = "images, results and API keys can be read and changed on their way"
        fix = "a reverse proxy with TLS in front of it; the gateway itself speaks plain HTTP"
        findings.append(warning(f"{where}, without encryption", why, fix))
    return findings
