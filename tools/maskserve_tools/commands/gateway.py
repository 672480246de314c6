"""`maskserve gateway`: PaddleX's HTTP service in front of Triton."""

from __future__ import annotations

import argparse
import contextlib

from maskserve.paddlex.config import PIPELINE
from maskserve_tools.commands.serve import listen_to_signals, port, say
from maskserve_tools.extras import need

_EPILOG = """\
examples:
  maskserve gateway --url grpc://localhost:8001 --model Mask-RT-DETR-S
  maskserve gateway --url grpc://localhost:8001    (every model of the server, at /models/NAME/instance-segmentation)
  maskserve gateway --url grpc://a:8001 --url grpc://b:8001 --model Mask-RT-DETR-S --workers 4 --host 0.0.0.0

An API key is wanted of clients when the environment's MASKSERVE_API_KEY holds one, or --api-key-file names a file.
"""
_NUMBERS = (
    *("max_body_bytes", "max_pixels", "max_drawn_pixels", "max_memory_bytes"),
    *("max_concurrent", "max_waiting", "max_connections"),
    *("wait_seconds", "timeout", "head_seconds", "health_seconds"),
)


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
    named = "serve this model; may be repeated, the first is the default (default: every model that the servers have)"
    add("--model", action="append", dest="models", default=[], metavar="NAME", help=named)
    every = "serve every model that the servers have, beside the --model that is the default"
    add("--all-models", action="store_true", help=every)
    add("--ca-file", metavar="FILE", help="certificate authorities to trust for grpcs and https")
    add("--host", default="127.0.0.1", metavar="H", help="address to listen on (default 127.0.0.1)")
    add("--port", type=port, default=8080, metavar="N", help="port, or auto for a free one (default 8080)")
    add("--workers", type=_count, default=1, metavar="N", help="processes (default 1)")
    add("--no-image", action="store_true", help="no image in answers, unless a request says visualize: true")
    add("--strict-paddlex", action="store_true", help="answer bad images as PaddleX does, with 500")
    add("--max-body-bytes", type=_count, metavar="N", help="of a request (default 64 MiB)")
    add("--max-pixels", type=_count, metavar="N", help="of an image (default 100,000,000)")
    add("--max-drawn-pixels", type=_count, metavar="N", help="of the image in an answer (default 16,000,000)")
    add("--max-memory-bytes", type=_count, metavar="N", help="that requests may take, per worker (default 1.25 GiB)")
    add("--max-concurrent", type=_count, metavar="N", help="requests with the servers, per worker (default 16)")
    add("--max-waiting", type=_count, metavar="N", help="requests that wait for that, per worker (default 64)")
    add("--max-connections", type=_count, metavar="N", help="connections, per worker (default 1024)")
    add("--wait-seconds", type=float, metavar="S", help="how long one waits (default 10)")
    add("--timeout", type=float, metavar="S", help="seconds for one request (default 60)")
    add("--head-seconds", type=float, metavar="S", help="how long the head of a request may take (default 10)")
    add("--health-seconds", type=float, metavar="S", help="how old the proof of /health may be (default 10)")
    hosts = "fetch images from this host, where requests have URLs (*.HOST: those below it); may be repeated"
    add("--image-host", action="append", dest="image_hosts", default=[], metavar="HOST", help=hosts)
    names = "answer for this name in Host, too (*.HOST: those below it); may be repeated"
    add("--allow-host", action="append", dest="allow_hosts", default=[], metavar="HOST", help=names)
    pages = "let pages of this origin use it (CORS), such as https://example.org; may be repeated"
    add("--allow-origin", action="append", dest="allow_origins", default=[], metavar="ORIGIN", help=pages)
    proxies = "log the X-Forwarded-For of this address or network (default: loopback); may be repeated"
    add("--trusted-proxy", action="append", dest="trusted_proxies", metavar="NETWORK", help=proxies)
    add("--api-key-file", metavar="FILE", help="keys that are let in, one a line")
    add("--no-page", action="store_true", help="no page at /")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal asks to stop.

    Raises:
        MaskserveError: an option makes no sense, or the port is taken.
    """
    need("the REST service", "gateway")
    from maskserve_gateway.settings import ALL, Settings
    from maskserve_gateway.workers import run as run_gateway

    given = {name: getattr(args, name) for name in _NUMBERS if getattr(args, name) is not None}
    if args.trusted_proxies is not None:
        given["trusted_proxies"] = tuple(args.trusted_proxies)
    settings = Settings(
        urls=tuple(args.urls),
        model=args.models[0] if args.models else PIPELINE,
        models=(*args.models[1:], *((ALL,) if args.all_models or not args.models else ())),
        ca_file=args.ca_file,
        visualize=not args.no_image,
        strict_paddlex=args.strict_paddlex,
        image_hosts=tuple(args.image_hosts),
        allow_hosts=tuple(args.allow_hosts),
        allow_origins=tuple(args.allow_origins),
        api_key_file=args.api_key_file,
        page=not args.no_page,
        **given,
    )
    listen_to_signals()
    with contextlib.suppress(KeyboardInterrupt):
        run_gateway(settings, host=args.host.strip("[]"), port=args.port, workers=args.workers, ready=_announce)
    say("maskserve: the gateway has stopped")
    return 0


def _announce(url: str, default: str) -> None:
    say(f"maskserve: the gateway listens on {url}")
    if default == PIPELINE:
        say("maskserve: no server says yet which models it has; it is asked again with each request")
    else:
        say(f"maskserve: /instance-segmentation is for {default}; {url}/models lists what there is")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
