"""An embedded server that lasts exactly as long as the worker that wants it, however that ends.

Ray ends its workers with SIGKILL as often as not, and their children with them. So the server is kept by a process of
its own, nobody's child, which stops it in order as soon as the pipe from the worker is closed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskserve.errors import MaskserveError, ServerUnavailable, from_wire, to_wire

if TYPE_CHECKING:
    from typing import IO


@dataclass(frozen=True, slots=True)
class KeptServer:
    """A server that runs until it is closed, or its owner is gone.

    Attributes:
        model: the model's name there.
        url: where it is.
        pipe: what its keeper waits at the other end of.
    """

    model: str
    url: str
    pipe: IO[bytes]

    def close(self) -> None:
        """Have it stopped."""
        self.pipe.close()


def keep_server(model: str) -> KeptServer:
    """Start an embedded server, and wait until it answers.

    Args:
        model: a Paddle inference folder, or the name of an official model, which is fetched and converted once.

    Raises:
        MaskserveError: it cannot be started.
    """
    command = [sys.executable, "-m", __name__, model]
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper.stdout as answer:
        line = answer.readline()
    keeper.wait()  # only until it has forked
    if not line:
        keeper.stdin.close()
        raise ServerUnavailable(f"the process that starts the server for {model} died; its last words are in Ray's log")
    told = json.loads(line)
    if "error" in told:
        keeper.stdin.close()
        raise from_wire(told["error"]) or ServerUnavailable(told["error"])
    return KeptServer(told["model"], told["url"], keeper.stdin)


def main(model: str) -> None:
    """Keep a server with `model` until standard input ends."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker, and its end reaches us
    from maskserve_tools.local import start

    try:
        server = start(model)
    except MaskserveError as error:
        print(json.dumps({"error": to_wire(error)}), flush=True)
        return
    try:
        print(json.dumps({"model": server.model, "url": server.url}), flush=True)
        sys.stdin.buffer.read()
    finally:
        server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
