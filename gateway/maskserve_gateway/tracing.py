"""W3C trace context: who called, passed on to Triton."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from maskserve_gateway.telemetry import current_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_STATE = 512


def trace_headers(incoming: Mapping[str, str], log_id: str) -> dict[str, str]:
    """Return the headers for a request to Triton.

    Where spans are recorded, it is the context of the gateway's span. Else a caller's context goes on as it is. Where
    there is none, or a damaged one, a trace begins here, whose id is the `log_id` (a UUID), so that Triton's traces and
    the access log speak of the same request.
    """
    recorded = current_headers()
    if recorded:
        return recorded
    parent = incoming.get("traceparent", "").strip()
    if not _TRACEPARENT.fullmatch(parent):
        return {"traceparent": f"00-{log_id.replace('-', '')}-{secrets.token_hex(8)}-00"}
    state = incoming.get("tracestate", "").strip()
    passes = state and len(state) <= _MAX_STATE and state.isascii() and state.isprintable()
    return {"traceparent": parent, **({"tracestate": state} if passes else {})}
