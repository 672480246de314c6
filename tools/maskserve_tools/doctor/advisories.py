"""The published vulnerabilities of tritonserver, by the release that fixes them.

Source: NVIDIA's security bulletins, https://github.com/NVIDIA/product-security (folders 2025/ID and 2026/ID), as of
2026-09-08. Their tables name releases (25.07); a server tells its version (2.59.1). Release 24.10 is 2.51.0 and each
later one counts the middle number up by one, but 25.07, which is 2.59.1 after 25.06's 2.59.0
(https://github.com/triton-inference-server/pytriton/issues/108); so 25.08 is 2.60.0, and 26.04 is 2.68.0 as the
release notes say, too. Vulnerabilities of the DALI and TensorRT backends and of the SageMaker endpoint, which
maskserve has no use for, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Version = tuple[int, int, int]

# The first release without a hole that the table knows of.
SAFE_RELEASE = "26.07"
HTTP_SIZE_LIMIT = (2, 62, 0)  # 25.10, the first with --http-max-input-size, of 64 MiB where it is not given


@dataclass(frozen=True, slots=True)
class Advisory:
    """A bulletin, as far as one release fixes it.

    Attributes:
        bulletin: NVIDIA's number for it.
        release: the first release without the holes.
        fixed: that release as a version.
        score: the highest CVSS 3.1 base score among them.
        holes: what they are called; the worst first.
        what: what the worst of them are.
    """

    bulletin: int
    release: str
    fixed: Version
    score: float
    holes: tuple[str, ...]
    what: str


ADVISORIES = (
    Advisory(
        5687, "25.05", (2, 58, 0), 7.5,
        ("CVE-2025-23323", "CVE-2025-23324", "CVE-2025-23325", "CVE-2025-23326", "CVE-2025-23327"),
        "malformed or deeply nested requests crash the server",
    ),
    Advisory(
        5687, "25.06", (2, 59, 0), 7.5, ("CVE-2025-23322", "CVE-2025-23331"),
        "cancelled streams and oversized allocations crash the server",
    ),
    Advisory(
        5687, "25.07", (2, 59, 1), 9.8,
        ("CVE-2025-23310", "CVE-2025-23311", "CVE-2025-23317", "CVE-2025-23318", "CVE-2025-23319",
         "CVE-2025-23320", "CVE-2025-23321", "CVE-2025-23333", "CVE-2025-23334"),
        "code execution through HTTP requests and through the python backend's shared memory",
    ),
    Advisory(
        5691, "25.08", (2, 60, 0), 9.8,
        ("CVE-2025-23316", "CVE-2025-23328", "CVE-2025-23329", "CVE-2025-23336"),
        "code execution through the model control API and the python backend",
    ),
    Advisory(5723, "25.09", (2, 61, 0), 6.5, ("CVE-2025-33202",), "very large requests overflow the stack"),
    Advisory(
        5734, "25.10", (2, 62, 0), 7.5, ("CVE-2025-33211", "CVE-2025-33201"), "very large requests crash the server"
    ),
    Advisory(
        5790, "26.01", (2, 65, 0), 7.5, ("CVE-2026-24158", "CVE-2025-33254"),
        "compressed requests exhaust the memory",
    ),
    Advisory(
        5816, "26.02", (2, 66, 0), 7.5,
        ("CVE-2026-24146", "CVE-2026-24173", "CVE-2026-24174", "CVE-2026-24175", "CVE-2026-24147"),
        "malformed requests and headers crash the server",
    ),
    Advisory(
        5828, "26.03", (2, 67, 0), 9.8,
        ("CVE-2026-24207", "CVE-2026-24206", "CVE-2026-24209", "CVE-2026-24210", "CVE-2026-24208"),
        "authentication can be bypassed, up to code execution",
    ),
    Advisory(
        5848, "26.04", (2, 68, 0), 7.5, ("CVE-2026-24264", "CVE-2026-24266"), "compressed requests exhaust the memory"
    ),
    Advisory(5875, "26.04", (2, 68, 0), 7.5, ("CVE-2026-47625",), "an authorization is missing"),
    Advisory(
        5853, "26.05", (2, 69, 0), 7.5,
        ("CVE-2026-47476", "CVE-2026-47477", "CVE-2026-47478", "CVE-2026-47479", "CVE-2026-47480",
         "CVE-2026-47482", "CVE-2026-47481"),
        "requests exhaust or crash the server, authentication can be bypassed",
    ),
    Advisory(
        5865, "26.06", (2, 70, 0), 9.8,
        ("CVE-2026-47627", "CVE-2026-47629", "CVE-2026-47628", "CVE-2026-47606", "CVE-2026-47630"),
        "paths of requests lead out of the model repository",
    ),
    Advisory(5875, "26.07", (2, 71, 0), 7.5, ("CVE-2026-16497",), "requests keep the server busy without an end"),
)  # fmt: skip


def parse_version(text: str) -> Version | None:
    """Return the version that a server tells of itself; None where it is none."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def advisories_for(version: Version) -> Sequence[Advisory]:
    """Return the vulnerabilities that `version` has, the oldest first."""
    return [advisory for advisory in ADVISORIES if version < advisory.fixed]
