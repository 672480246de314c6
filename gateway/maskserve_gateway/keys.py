"""API keys: compared in constant time, of whichever header they come in."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from maskserve_gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def check_key(headers: Mapping[str, str], keys: Sequence[str]) -> None:
    """Let a request in that has one of `keys`, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

    Without keys everybody is let in.

    Raises:
        Refusal: it is not.
    """
    if not keys:
        return
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = headers.get("x-api-key") or (bearer if scheme.lower() == "bearer" else "")
    # all of them are compared, so that the time tells nothing about which is close
    matches = [hmac.compare_digest(given.strip().encode(), key.encode()) for key in keys]
    if not any(matches):
        words = "the API key is not known" if given else "an API key is needed: Authorization: Bearer KEY"
        raise Refusal(401, words, {"WWW-Authenticate": "Bearer"})
