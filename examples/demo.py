"""The whole way once: a Paddle folder in, a served model, an image's instances out."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from maskserve import create_pipeline
from maskserve_tools import convert, serve

DEMO = Path(__file__).parent.parent / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert a model, serve it, and segment an image.")
    parser.add_argument("--model", type=Path, default=DEMO / "model", help="a Paddle inference folder")
    parser.add_argument("--photo", type=Path, nargs="+", default=sorted((DEMO / "photos").glob("*.jpg")))
    parser.add_argument("--output", type=Path, default=Path("output"))
    arguments = parser.parse_args()

    with TemporaryDirectory() as repository:
        print(f"1. converting {arguments.model}")
        converted = convert(arguments.model, repository=repository, report=lambda line: print(f"   {line}"))

        print("2. starting tritonserver")
        with serve(repository) as server, create_pipeline(converted.name, url=server.grpc_url) as pipeline:
            print(f"3. segmenting through {server.grpc_url}")
            saved = []
            for result in pipeline.predict(arguments.photo):
                result.print()
                saved.append((result.save_to_img(arguments.output), result.save_to_json(arguments.output)))
        print("4. the server is stopped")

    for image, document in saved:
        print(f"   {image} and {document}")


if __name__ == "__main__":
    main()
