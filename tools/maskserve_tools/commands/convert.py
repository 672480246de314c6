"""`maskserve convert`: a Paddle inference folder becomes entries of a model repository."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from maskserve.errors import ToolError
from maskserve_convert.choices import ENGINES, ENSEMBLE, LAYOUTS, PRECISIONS, TARGETS
from maskserve_server.engine_table import AUTO, EMBEDDED, FP32, INT8
from maskserve_server.spec import DECODINGS, FULL
from maskserve_tools.options import positive

_LOADING = 600.0  # seconds that a running server has to try the model out and to load it


def add_parser(subparsers: Any) -> None:
    """Add `convert` to the command line."""
    parser = subparsers.add_parser(
        "convert",
        help="turn a Paddle inference folder into entries of a Triton model repository",
        description="Cut a PaddleX instance segmentation model in front of its mask painting, convert the rest to "
        "ONNX, and write the entries that tritonserver runs.",
    )
    parser.add_argument("source", metavar="PADDLE_DIR|ARCHIVE|NAME", help="the folder that holds inference.yml or "
                        "infer_cfg.yml, a training's output, a .tar, .tar.gz or .zip of one, or the name of an "
                        "official model, which is fetched (see `maskserve models`)")  # fmt: skip
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), metavar="DIR",
                        help="the model repository to write into (default: %(default)s)")  # fmt: skip
    parser.add_argument("--name", help="what clients call the model (default: the name in inference.yml)")
    parser.add_argument("--labels", type=Path, metavar="FILE",
                        help="the names of the classes, by class id, instead of those in inference.yml: a text file "
                        "with a name on each line, or a list in JSON or YAML, in UTF-8")  # fmt: skip
    parser.add_argument("--engine", choices=ENGINES, default=AUTO,
                        help="what runs the network (default: the fastest that works)")  # fmt: skip
    parser.add_argument("--precision", choices=PRECISIONS, default=FP32,
                        help="what the network computes in; bf16 and fp16 need OpenVINO and a CPU that has them, int8 "
                        "needs --calibration; `maskserve verify` and `maskserve evaluate` say what they cost "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--calibration", type=Path, action="append", metavar="PATH",
                        help="for int8: a directory of images like those that the model will see, or an image; may be "
                        "repeated; 64 of them are used, and some dozens are enough")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="draws the images of the calibration, where there are more than are used (default: "
                        "%(default)s)")  # fmt: skip
    parser.add_argument("--layout", choices=LAYOUTS, default=ENSEMBLE,
                        help="three steps that scale apart, or one process (default: %(default)s)")  # fmt: skip
    parser.add_argument("--target", choices=TARGETS, default=EMBEDDED,
                        help="what serves it: `maskserve serve` and every other tritonserver (the core runs in the "
                        "python backend), or Triton's containers with their C++ backends, on a CPU or a GPU, where "
                        "--precision fp16 is TensorRT's (default: %(default)s)")  # fmt: skip
    parser.add_argument("--bundle", type=Path, metavar="FILE",
                        help="write the model as this one file (.maskserve) instead of entries of a repository: any "
                        "maskserve opens it, without Paddle and without a server")  # fmt: skip
    parser.add_argument("--onnx", type=Path, metavar="DIR",
                        help="write the network as an ONNX file into this folder instead, with a README and a program "
                        "in numpy that turns its outputs into masks, for a runtime of your own")  # fmt: skip
    parser.add_argument("--queue", type=int, metavar="N",
                        help="how many requests the server takes in before it refuses the next one at once (default: "
                        "twice as many as are answered in the longest wait, by the time that an image takes on this "
                        "machine)")  # fmt: skip
    parser.add_argument("--instances", type=positive, metavar="N",
                        help="how many images the model computes at the same time (default: whoever serves it takes "
                        "one for every four cores)")  # fmt: skip
    parser.add_argument("--threads", type=positive, metavar="N",
                        help="how many threads compute each image (default: whoever serves it shares out the "
                        "cores)")  # fmt: skip
    parser.add_argument("--decode", choices=DECODINGS, default=FULL,
                        help="reduced decodes large JPEG files to a half, a quarter or an eighth of their size where "
                        "the network looks at no more than that: faster, and a little different, which `maskserve "
                        "verify` measures (default: %(default)s)")  # fmt: skip
    parser.add_argument("--reload", metavar="URL",
                        help="let the server that runs there load the model: `maskserve serve` on this machine, or a "
                        "tritonserver with explicit model control")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Convert, saying each step.

    Raises:
        ToolError: the model cannot be converted, or the server did not load it.
    """
    from maskserve_server.engine_table import SERVER_EXTRA
    from maskserve_tools.convert_source import convert
    from maskserve_tools.embedded.reload_request import find_server, let_load
    from maskserve_tools.extras import need
    from maskserve_tools.model_source import find_source

    for option, value in (("--bundle", arguments.bundle), ("--onnx", arguments.onnx)):
        if value is not None and arguments.reload is not None:
            raise ToolError(f"{option} writes no repository that a server could reload: leave out {option} or --reload")
    if arguments.reload is not None:
        find_server(arguments.reload)  # before minutes are spent on converting

    find_source(arguments.source, labels=arguments.labels)
    need("maskserve convert", "convert", SERVER_EXTRA, *(("int8",) if arguments.precision == INT8 else ()))

    was_used = _holds_something(arguments.repository)
    console = Console(stderr=True, highlight=False)
    with console.status("converting") as status:

        def report(line: str) -> None:
            status.update(line)
            console.print(line, soft_wrap=True, markup=False)

        made = convert(
            arguments.source,
            repository=arguments.repository,
            name=arguments.name,
            engine=arguments.engine,
            precision=arguments.precision,
            layout=arguments.layout,
            target=arguments.target,
            labels=arguments.labels,
            bundle=arguments.bundle,
            onnx=arguments.onnx,
            queue=arguments.queue,
            instances=arguments.instances,
            threads=arguments.threads,
            decode=arguments.decode,
            calibration=arguments.calibration,
            seed=arguments.seed,
            report=report,
        )
    print(f"{made.name}: {made.family} on {made.engine}, {arguments.precision} ({made.reason})")
    if made.bundle is not None:
        bundle = shlex.quote(_as_argument(made.bundle))
        print(f"{made.bundle_size / 1e6:.1f} MB; use it with: maskserve predict --pipeline {bundle} --input photo.jpg")
        return 0
    if made.onnx is not None:
        print(f"try it with: python {shlex.quote(_as_argument(made.onnx / 'segment.py'))} photo.jpg")
        return 0
    repository = shlex.quote(_as_argument(arguments.repository))
    if arguments.reload is not None:
        let_load(
            arguments.reload, arguments.repository, made.name, [path.name for path in made.entries], timeout=_LOADING
        )
        print(f"the server at {arguments.reload} has loaded it: {made.name} answers")
    elif arguments.target == EMBEDDED:
        print(f"serve it with: maskserve serve {repository}")
    else:
        print(f"serve {repository} with Triton's container, see docs/deployment.md")
    if arguments.reload is None:
        _offer_reload(arguments, was_used=was_used)
    return 0


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:  # it is not there, or no folder, or may not be looked at: writing into it says so
        return False


def _offer_reload(arguments: argparse.Namespace, *, was_used: bool) -> None:
    """Say what a server that runs already has to do with it."""
    from maskserve_tools.embedded.control import servers_of

    urls = servers_of(arguments.repository)
    for url in urls:
        words = [
            "maskserve",
            "convert",
            _as_argument(arguments.source),
            "--repository",
            _as_argument(arguments.repository),
        ]
        given = {"name": arguments.name, "engine": arguments.engine, "precision": arguments.precision,
                 "layout": arguments.layout, "target": arguments.target, "queue": arguments.queue,
                 "instances": arguments.instances, "threads": arguments.threads,
                 "decode": arguments.decode, "seed": arguments.seed}  # fmt: skip
        usual = {"name": None, "engine": AUTO, "precision": FP32, "layout": ENSEMBLE, "target": EMBEDDED,
                 "queue": None, "instances": None, "threads": None, "decode": FULL, "seed": 0}  # fmt: skip
        words += [word for key, value in given.items() if value != usual[key] for word in (f"--{key}", str(value))]
        words += [] if arguments.labels is None else ["--labels", _as_argument(arguments.labels)]
        words += [word for path in arguments.calibration or () for word in ("--calibration", _as_argument(path))]
        print(f"the server at {url} goes on without it until it reloads: {shlex.join([*words, '--reload', url])}")
    if not urls and was_used:
        print("a server that already runs on it has to be restarted, or to reload it (--reload URL)")


def _as_argument(path: object) -> str:
    """Return a path as a command takes it: one that begins with a dash would be an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)
