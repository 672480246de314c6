"""`maskserve up`: from a model to a server, the REST service and its page, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
import threading

from maskserve_tools.commands.serve import (
    announce_problems,
    listen_to_signals,
    port,
    say,
    wait_for_end,
    warn_of_release,
)

_EPILOG = """\
examples:
  maskserve up path/to/Mask-RT-DETR-S_infer
  maskserve up Mask-RT-DETR-S
  maskserve up people.maskserve dogs.maskserve
  maskserve up model_repository --port 9000

A model that has to be converted is converted once; the result is kept in MASKSERVE_CACHE (~/.cache/maskserve).
Where one of the usual ports (8000, 8001, 8002, 8080) is taken, a free one is chosen instead.
"""
_PORTS = (("rest", "--port"), ("http", "--http-port"), ("grpc", "--grpc-port"), ("metrics", "--metrics-port"))
_USUAL = {"rest": 8080, "http": 8000, "grpc": 8001, "metrics": 8002}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "up",
        help="convert a model, serve it, and open its page: all with one command",
        description="Convert a model where it has to be, serve it with the embedded tritonserver and the REST service,"
        " and open the page, until Ctrl-C. For development and trusted networks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    what = "a model's folder, an archive of one, a name of `maskserve models`, a bundle, an entry, or a repository"
    add("sources", nargs="+", metavar="FOLDER|NAME|BUNDLE", help=what)
    add("--host", default="127.0.0.1", metavar="H", help="address to listen on (default 127.0.0.1)")
    for name, flag in _PORTS:
        service = "the REST service and the page" if name == "rest" else f"tritonserver's {name}"
        text = f"port of {service}, or auto for a free one (default {_USUAL[name]} if it is free)"
        add(flag, dest=f"{name}_port", type=port, metavar="N", help=text)
    names = "a name that the REST service answers for in Host, too (*.HOST: those below it); may be repeated"
    add("--allow-host", action="append", dest="allow_hosts", default=[], metavar="HOST", help=names)
    add("--no-browser", action="store_true", help="do not open the page")
    add("--verbose", action="store_true", help="show all of Triton's log, not only its problems")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal asks to stop.

    Raises:
        MaskserveError: there is no such model, a package or a port is missing, or something cannot be started.
    """
    from maskserve_tools.extras import need
    from maskserve_tools.model_source import Kind, find_source

    sources = [find_source(text) for text in dict.fromkeys(args.sources)]
    converting = any(source.kind is Kind.PADDLE for source in sources)
    need("maskserve up", "embedded", "gateway", *(("convert",) if converting else ()))

    from maskserve_tools.up.repository import prepare
    from maskserve_tools.up.running import Wanted, running

    given = {name: getattr(args, f"{name}_port") for name, _ in _PORTS}
    wanted = Wanted(args.host.strip("[]"), {name: number for name, number in given.items() if number is not None})
    wanted.check()
    try:
        listen_to_signals()
        prepared = prepare(sources, lambda line: say(f"maskserve: {line}"))
        say("maskserve: starting tritonserver and the REST service")
        with running(
            prepared, wanted, default=prepared.default, verbose=args.verbose, allow_hosts=args.allow_hosts
        ) as (
            server,
            gateway,
        ):
            announce_problems(server)
            _announce(server.models, gateway.default, server.grpc_url, server.http_url, gateway.url)
            warn_of_release(args.host)
            say("Ctrl-C stops all of it.")
            if not args.no_browser:
                _open(f"{gateway.url}/")
            wait_for_end(server, gateway, restart=True)
    except KeyboardInterrupt:
        say("maskserve: stopped")
    return 0


def _announce(models: tuple[str, ...], default: str, grpc: str, http: str, gateway: str) -> None:
    from maskserve_tools.up.snippets import Addresses, address_lines, example_image, snippet_lines

    addresses = Addresses(grpc, http, gateway)
    say(f"maskserve: ready. Models: {', '.join(models)}")
    for line in (*address_lines(addresses), "", *snippet_lines(addresses, models, default, example_image()), ""):
        say(line)


def _open(url: str) -> None:
    """Open the page, where there is a browser with windows: one of text would take this terminal."""
    graphical = sys.platform == "darwin" or any(map(os.environ.get, ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")))
    if graphical:
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
