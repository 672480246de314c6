"""W3C trace context: who called, passed on to Triton."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_STATE = 512


def trace_headers(incoming: Mapping[str, str], log_id: str) -> dict[str, str]:
    """The headers for a request to Triton.

    A caller's context goes on as it is. Where there is none, or a damaged one, a trace begins here, whose id is the
    `log_id` (a UUID), so that Triton's traces and the access log speak of the same request.
    """
    parent = incoming.get("traceparent", "").strip()
    if not _TRACEPARENT.fullmatch(parent):
        return {"traceparent": f"00-{log_id.replace('-', '')}-{secrets.token_hex(8)}-00"}
    state = incoming.get("tracestate", "").strip()
    passes = state and len(state) <= _MAX_STATE and state.isascii() and state.isprintable()
    return {"traceparent": parent, **({"tracestate": state} if passes else {})}
