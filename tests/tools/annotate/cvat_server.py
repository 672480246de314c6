"""A stand-in for a CVAT server: one task with two images, and what was uploaded to it."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

NAMES = ("a.png", "b.png")
TOKEN = "token-of-a-test"


class StandIn:
    """What the server has, and what it was asked.

    Attributes:
        labels: of the task: name, and type.
        size: width and height of its images.
        uploads: method, query and body of what was sent to its annotations.
        asked: the paths of all requests.
    """

    def __init__(self, labels: list[tuple[str, str]], size: tuple[int, int]) -> None:
        self.labels, self.size = labels, size
        self.uploads: list[tuple[str, dict[str, list[str]], Any]] = []
        self.asked: list[str] = []
        self.url = ""

    def answer(self, path: str) -> Any:
        """Return the JSON, or the bytes, of a GET; None where there is nothing."""
        task = {
            "id": 7, "name": "task", "organization": None, "organization_id": None,
            "size": len(NAMES), "data_chunk_size": 10, "data": 1, "mode": "annotation",
            "data_original_chunk_type": "imageset", "data_compressed_chunk_type": "imageset", "status": "annotation",
            "updated_date": "2026-01-01T00:00:00Z", "created_date": "2026-01-01T00:00:00Z", "dimension": "2d",
            "url": f"{self.url}/api/tasks/7", "labels": {"url": f"{self.url}/api/labels?task_id=7"},
            "jobs": {"count": 1, "completed": 0, "validation": 0, "url": f"{self.url}/api/jobs?task_id=7"},
        }  # fmt: skip
        frames = [{"width": self.size[0], "height": self.size[1], "name": name, "related_files": 0} for name in NAMES]
        meta = {
            "size": len(NAMES), "chunk_size": 10, "image_quality": 70, "start_frame": 0, "stop_frame": 1,
            "frame_filter": "", "frames": frames, "deleted_frames": [], "chunks_updated_date": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        labels = [
            {"id": 100 + number, "name": name, "type": kind, "color": "#ffffff", "attributes": [], "sublabels": []}
            for number, (name, kind) in enumerate(self.labels)
        ]
        return {
            "/api/server/about": {
                "name": "CVAT",
                "description": "",
                "version": "2.80.0",
                "logo_url": "",
                "subtitle": "",
            },
            "/api/tasks/7": task,
            "/api/tasks/7/data/meta": meta,
            "/api/labels": {"count": len(labels), "next": None, "previous": None, "results": labels},
            "/api/tasks/7/data": self.chunk(),
        }.get(path)

    def chunk(self) -> bytes:
        """Return the images, as CVAT sends them."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for number, name in enumerate(NAMES):
                image = io.BytesIO()
                Image.new("RGB", self.size, (number, 2, 3)).save(image, "PNG")
                archive.writestr(f"{number:06}{name[-4:]}", image.getvalue())
        return file.getvalue()


@contextmanager
def standing_in(labels: list[tuple[str, str]], size: tuple[int, int]) -> Iterator[StandIn]:
    """Run the server."""
    standin = StandIn(labels, size)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path.rstrip("/")
            standin.asked.append(path)
            content = standin.answer(path)
            allowed = path == "/api/server/about" or self.headers.get("Authorization") == f"Bearer {TOKEN}"
            self.reply(
                content if allowed else {"detail": "no"}, (200 if content is not None else 404) if allowed else 401
            )

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            parts = urlsplit(self.path)
            standin.uploads.append((self.command, parse_qs(parts.query), body))
            self.reply({"version": 1, "tags": [], "shapes": [], "tracks": []}, 200)

        do_PUT = do_PATCH

        def reply(self, content: Any, status: int) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/zip" if isinstance(content, bytes) else "application/vnd.cvat+json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    standin.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
