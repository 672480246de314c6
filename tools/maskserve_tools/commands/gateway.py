"""`maskserve gateway`: PaddleX's HTTP service in front of Triton."""

from __future__ import annotations

import argparse
import contextlib

from maskserve.errors import ToolError
from maskserve_tools.commands.serve import listen_to_signals, port, say

_EPILOG = """\
examples:
  maskserve gateway --url grpc://localhost:8001 --model Mask-RT-DETR-S
  maskserve gateway --url grpc://a:8001 --url grpc://b:8001 --model Mask-RT-DETR-S --workers 4 --host 0.0.0.0

An API key is wanted of clients when the environment's MASKSERVE_API_KEY holds one, or --api-key-file names a file.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "gateway",
        help="run the REST service in front of one or several servers",
        description="Run the REST service (POST /instance-segmentation) in front of one or several Triton servers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--url", action="append", dest="urls", required=True, metavar="URL", help="a server; may be repeated")
    add("--model", required=True, metavar="NAME", help="the model on the servers (instance_segmentation: the only one)")
    add("--ca-file", metavar="FILE", help="certificate authorities to trust for grpcs and https")
    add("--host", default="127.0.0.1", metavar="H", help="address to listen on (default 127.0.0.1)")
    add("--port", type=port, default=8080, metavar="N", help="port, or auto for a free one (default 8080)")
    add("--workers", type=_count, default=1, metavar="N", help="processes (default 1)")
    add("--no-image", action="store_true", help="no picture in answers, unless a request says visualize: true")
    add("--strict-paddlex", action="store_true", help="answer bad pictures as PaddleX does, with 500")
    add("--max-body-bytes", type=_count, metavar="N", help="of a request (default 64 MiB)")
    add("--max-pixels", type=_count, metavar="N", help="of a picture (default 100,000,000)")
    add("--max-concurrent", type=_count, metavar="N", help="requests with the servers, per worker (default 16)")
    add("--max-waiting", type=_count, metavar="N", help="requests that wait for that, per worker (default 64)")
    add("--wait-seconds", type=float, metavar="S", help="how long one waits (default 10)")
    add("--timeout", type=float, metavar="S", help="seconds for one request (default 60)")
    add("--health-seconds", type=float, metavar="S", help="how old the proof of /health may be (default 10)")
    hosts = "fetch images from this host, where requests have URLs (*.HOST: those below it); may be repeated"
    add("--image-host", action="append", dest="image_hosts", default=[], metavar="HOST", help=hosts)
    add("--api-key-file", metavar="FILE", help="keys that are let in, one a line")
    add("--no-page", action="store_true", help="no page at /")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal asks to stop.

    Raises:
        MaskserveError: an option makes no sense, or the port is taken.
    """
    try:
        from maskserve_gateway.running import run as run_gateway
        from maskserve_gateway.settings import Settings
    except ImportError as error:
        raise ToolError(f"the gateway needs {error.name}: pip install 'maskserve[gateway]'") from None

    numbers = ("max_body_bytes", "max_pixels", "max_concurrent", "max_waiting", "wait_seconds", "timeout")
    given = {name: getattr(args, name) for name in (*numbers, "health_seconds") if getattr(args, name) is not None}
    settings = Settings(
        urls=tuple(args.urls),
        model=args.model,
        ca_file=args.ca_file,
        visualize=not args.no_image,
        strict_paddlex=args.strict_paddlex,
        image_hosts=tuple(args.image_hosts),
        api_key_file=args.api_key_file,
        page=not args.no_page,
        **given,
    )
    listen_to_signals()
    with contextlib.suppress(KeyboardInterrupt):
        run_gateway(settings, host=args.host, port=args.port, workers=args.workers, ready=_announce)
    say("maskserve: the gateway has stopped")
    return 0


def _announce(url: str) -> None:
    say(f"maskserve: the gateway listens on {url}")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
