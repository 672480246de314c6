"""A server, over gRPC and over HTTP, that poison ends: run as a program, with a file for its log and its two ports.

It writes a line for each image that it sees, and ends at once where the image holds the word POISON.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import Any

POISON = b"POISON"


def see(image: bytes, log: Path) -> None:
    poison = POISON in image
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{'poison' if poison else 'image'}\n")
    if poison:
        os._exit(1)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        config = {"parameters": {self.server.labels: {"string_value": '["person"]'}}}  # type: ignore[attr-defined]
        self._reply(200, config)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        see(body, self.server.log)  # type: ignore[attr-defined]
        self._reply(400, {"error": "[invalid_image] not an image"})

    def _reply(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main(log: Path, grpc_port: int, http_port: int) -> None:
    import grpc
    from tritonclient.grpc import service_pb2 as pb
    from tritonclient.grpc import service_pb2_grpc

    from maskserve.contract import PARAMETER_LABELS

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ModelInfer(self, request: Any, context: Any) -> Any:
            see(request.raw_input_contents[0], log)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "[invalid_image] not an image")

        def ModelConfig(self, request: Any, context: Any) -> Any:
            answer = pb.ModelConfigResponse()
            answer.config.parameters[PARAMETER_LABELS].string_value = '["person"]'
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    assert server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    server.start()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", http_port), Handler)
    web.log, web.labels = log, PARAMETER_LABELS  # type: ignore[attr-defined]
    threading.Thread(target=web.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


class MortalServer:
    """The program from its parent's side; `restart` starts it again on the same ports.

    Attributes:
        urls: by protocol.
    """

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self._log, self._ports = folder / f"seen-{ports[0]}", ports
        self.urls = {"grpc": f"grpc://127.0.0.1:{ports[0]}", "http": f"http://127.0.0.1:{ports[1]}"}
        self.restart()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def seen(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").split() if self._log.exists() else []

    def restart(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._log), *map(str, self._ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def wait_until_dead(self) -> None:
        self._process.wait(20)

    def restart_when_dead(self, times: int) -> threading.Thread:
        """Start it again whenever it has ended, as a supervisor does."""

        def watch() -> None:
            for _ in range(times):
                while self.alive:
                    time.sleep(0.005)
                self._close()
                self.restart()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        self._process.kill()
        self._close()

    def _close(self) -> None:
        self._process.wait(20)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
