"""Triton's log: kept for error messages, forwarded on request, and read for a few events."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from pathlib import Path
from typing import TextIO

_KEPT_LINES = 2000
_RECORD = re.compile(r'^[IWEF]\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] +"?(?P<message>.*?)"?\s*$')
_FLAG = r".*: (unrecognized option|option '.*' (requires|is ambiguous|doesn't allow))|Bad option"
_PROBLEM = re.compile(rf"^([WEF]\d{{4}} |\[libprotobuf ERROR|error: |{_FLAG})")
_ERROR = re.compile(rf"^([EF]\d{{4}} |\[libprotobuf ERROR|{_FLAG})")
_NO_GPU = re.compile(r"CudaDriverHelper|unable to create stream for|pinned|NVML|DCGM")
_LOADING = re.compile(r'"loading: (?P<name>.+):\d+"')
_SETTLED = re.compile(r"(successfully loaded|failed to load) '(?P<name>[^']+)'")
_OPEN = re.compile(r'"?Started (HTTPService|GRPCInferenceService) at ')
# Said once more, with the model's name, by the line that follows.
_REPEATED = "Failed to create instance"


class TritonLog:
    """Collects the lines that tritonserver and its stubs write.

    Args:
        target: a file that gets every line, or a stream that gets warnings and errors, or None.
        verbose: whether a stream gets every line too.

    Attributes:
        endpoint_failure: what Triton said when it could not open a port. It does not exit then, but hangs.
        open: whether clients can reach the server: a request of theirs may be what it dies of.
        looks_at_connections: how often a stopping Triton, which looks once a second, has found HTTP connections open.
            0 before it stops, and once it has gone on to its models.
        loading: the models that Triton has begun to load, and that have neither loaded nor failed.
        loads: how often each model has been loaded, or has failed to be.
    """

    def __init__(self, target: Path | TextIO | None, *, verbose: bool) -> None:
        self._file = target.open("w", encoding="utf-8") if isinstance(target, Path) else None
        self._target = self._file or (target if not isinstance(target, Path) else None)
        self._everything = verbose or self._file is not None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lock = threading.Lock()
        self.endpoint_failure: str | None = None
        self.open = False
        self.looks_at_connections = 0
        self.loading: set[str] = set()
        self.loads: Counter[str] = Counter()

    def forget_start(self) -> None:
        """Forget what a server said: another one is about to start, whose failures have other causes."""
        self.endpoint_failure, self.looks_at_connections, self.open = None, 0, False
        self.loading.clear()
        with self._lock:
            self._lines.clear()

    def append(self, line: str) -> None:
        """Take one line, without its line end."""
        with self._lock:
            self._lines.append(line)
            if self._target is not None and (self._everything or _is_problem(line)):
                _write(self._target, line)
        if _OPEN.search(line):
            self.open = True
        if "HTTP service connections" in line:
            self.looks_at_connections += 1
        if "Waiting for in-flight requests" in line:
            self.looks_at_connections = 0
        if begun := _LOADING.search(line):
            self.loading.add(begun["name"])
        if settled := _SETTLED.search(line):
            self.loading.discard(settled["name"])
            self.loads[settled["name"]] += 1
        if "failed to start" in line and _ERROR.match(line):
            self.endpoint_failure = _message(line)

    def errors(self) -> list[str]:
        """Return the messages of the error lines so far, each once, oldest first."""
        with self._lock:
            found = [line for line in self._lines if _ERROR.match(line) and _is_problem(line)]
        return list(dict.fromkeys(_message(line) for line in found if _REPEATED not in line))

    def explain(self) -> str:
        """Return the errors, or the last lines where there are none, indented to follow a message."""
        with self._lock:
            tail = list(self._lines)[-10:]
        lines = "\n".join(self.errors() or tail).splitlines()
        return "".join(f"\n  {line}" for line in lines if line.strip())

    def close(self) -> None:
        """Close the file, where there is one. Later lines are only kept."""
        with self._lock:
            self._target = None
            if self._file is not None:
                self._file.close()


def _is_problem(line: str) -> bool:
    return bool(_PROBLEM.match(line)) and not _NO_GPU.search(line)


def _message(line: str) -> str:
    """Return what a record says: Triton quotes it and escapes its line ends."""
    match = _RECORD.match(line)
    text = match["message"] if match else line
    return text.replace("\\n", "\n").replace('\\"', '"').strip()


def _write(target: TextIO, line: str) -> None:
    try:
        target.write(line + "\n")
        target.flush()
    except (OSError, ValueError):  # a closed stream must not end the thread that drains the server's pipe
        return
