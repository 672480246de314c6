"""What the converter's passes did to the networks, as `provenance.json` records it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskserve_tools.doctor.finding import Finding, ok
from maskserve_tools.doctor.read_entries import ReadEntry


def show_passes(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Say for each network which passes made it faster, and why those that nearly fit did not."""
    return [
        ok(f"{entry.name}: {_summary(passes)}")
        for entry in entries
        if entry.holds_core and (passes := _passes(entry.recorded("passes")))
    ]


def _passes(recorded: Any) -> list[Mapping[str, Any]]:
    """Return the records that are well formed; an entry of an earlier converter has none."""
    records = recorded if isinstance(recorded, list) else []
    return [
        record
        for record in records
        if isinstance(record, Mapping)
        and isinstance(record.get("found"), int)
        and isinstance(record.get("reasons"), list)
        and "name" in record
    ]


def _summary(passes: Sequence[Mapping[str, Any]]) -> str:
    done = ", ".join(f"{record['name']} ({record['found']} places)" for record in passes if record["found"])
    left = [
        f"{record['name']}: {reason}"
        for record in passes
        for reason in record["reasons"]
        if not str(reason).startswith("nothing to find")
    ]
    return "; ".join([f"made faster by {done}" if done else "no pass made it faster", *left])
