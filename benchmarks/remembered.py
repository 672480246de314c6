"""`make bench`: a short set against an earlier release, in turns in one run; the ratios are kept in a file.

    python -m benchmarks.remembered [--against REF] [--turns N] [--history FILE]

Both releases are installed beside each other, without their dependencies, and measured by `benchmarks.short_set` in a
process each, which take turns. The figures are processor time, so that a busy machine disturbs little. The ratio of a
part is the median of its ratios in all turns. What takes over 5 % more is said to be slower.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maskserve_tools.tune.tuning import cpu_name

ROOT = Path(__file__).parent.parent
_SLOWER = 1.05
Turn = Mapping[str, float]


def ratios(new: Sequence[Turn], old: Sequence[Turn]) -> dict[str, float]:
    """Return the median of new over old in the same turn, for each part that both have."""
    shared = [part for part in new[0] if part in old[0]]
    return {part: statistics.median(n[part] / o[part] for n, o in zip(new, old, strict=True)) for part in shared}


def slower(found: Mapping[str, float]) -> list[str]:
    """Return a line for each part that takes over 5 % more."""
    return [f"{part} became slower: {ratio - 1:+.0%}" for part, ratio in found.items() if ratio > _SLOWER]


def remember(history: Path, entry: Mapping[str, Any]) -> None:
    """Append an entry to the file, a list in JSON; the file is replaced at once."""
    entries = json.loads(history.read_text(encoding="utf-8")) if history.is_file() else []
    fresh = history.with_suffix(".fresh")
    fresh.write_text(json.dumps([*entries, entry], indent=1) + "\n", encoding="utf-8")
    fresh.replace(history)


class Release:
    """A release of the packages, installed into a folder of its own, and the process that measures it."""

    def __init__(self, tree: Path, folder: Path, model: Path, photo: Path) -> None:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(tree)]
        subprocess.run(install, check=True)
        # not as a module of this tree, whose packages would come first
        script = ROOT / "benchmarks" / "short_set.py"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script), str(model), str(photo)],
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def turn(self) -> Turn:
        """Measure once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: Turn = json.loads(self.line())
        return found

    def line(self) -> str:
        """Return the next line of the process."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a release could not be measured (exit status {self._process.wait()})")
        return line

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Measure, print and keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="", metavar="REF", help="the earlier release (default: the last tag)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--model", type=Path, default=ROOT / "demo" / "model")
    parser.add_argument("--photo", type=Path, default=ROOT / "demo" / "photos" / "astronaut.jpg")
    parser.add_argument("--history", type=Path, default=ROOT / "benchmarks" / "history.json")
    args = parser.parse_args()
    against = _git("rev-parse", args.against or _last_tag())
    with TemporaryDirectory() as scratch:
        old_tree = Path(scratch) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(old_tree), against)
        releases: list[Release] = []
        try:
            for number, tree in enumerate((ROOT, old_tree)):
                releases.append(Release(tree, Path(scratch) / str(number), args.model, args.photo))
                releases[-1].line()  # it is ready
            turns: list[list[Turn]] = [[], []]
            for turn in range(args.turns):
                for number in (0, 1) if turn % 2 == 0 else (1, 0):
                    turns[number].append(releases[number].turn())
        finally:
            for release in releases:
                release.stop()
            _git("worktree", "remove", "--force", str(old_tree))
    found = ratios(*turns)
    print(f"{_git('rev-parse', '--short', 'HEAD')} against {against[:9]}, {cpu_name()}, processor milliseconds\n")
    print("| | before | now | ratio |\n|---|---:|---:|---:|")
    for part, ratio in found.items():
        now, before = (statistics.median(turn[part] for turn in side) for side in turns)
        print(f"| {part} | {before:.2f} | {now:.2f} | {ratio:.2f} |")
    print("\n" + ("\n".join(slower(found)) or "nothing became slower by over 5 %"))
    remember(
        args.history,
        {
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "commit": _git("rev-parse", "HEAD"),
            "against": against,
            "machine": cpu_name(),
            "turns": args.turns,
            "ratios": {part: round(ratio, 3) for part, ratio in found.items()},
        },
    )


def _last_tag() -> str:
    try:
        return _git("describe", "--tags", "--abbrev=0")
    except subprocess.CalledProcessError:
        raise SystemExit("there is no tag to compare with: name a commit, make bench AGAINST=REF") from None


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
