"""A view of a repository with the instances and threads that fit the machine, for a server in a container."""

from __future__ import annotations

import tempfile
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from maskserve_convert.triton.sizing import Wanted, size_model

_CONFIG = "config.pbtxt"


def sized_view(repository: Path, cores: int, asked: Wanted) -> Path:
    """Make a folder that shows a repository: links, and configurations of its own.

    An entry that cannot be read is shown as it is: Triton says what is wrong with it.

    Args:
        repository: what to show; it stays as it is, and may be read-only.
        cores: how many threads can compute at the same time.
        asked: what comes before what the entries say.

    Returns:
        The folder, for `--model-repository`. Nobody removes it: the server reads it until the container ends.

    Raises:
        ToolError: an entry says something of its size that is no number.
        OSError: the repository cannot be listed, or there is no room for temporary files.
    """
    view = Path(tempfile.mkdtemp(prefix="maskserve-models-"))
    view.chmod(0o755)
    configs: dict[str, schema.ModelConfig] = {}
    for entry in sorted(repository.resolve().iterdir()):
        try:
            configs[entry.name] = text_format.Parse((entry / _CONFIG).read_text(encoding="utf-8"), schema.ModelConfig())
        except (OSError, UnicodeDecodeError, text_format.ParseError):
            (view / entry.name).symlink_to(entry)
    for name in configs:
        size_model(name, configs, cores, asked)
    for name, config in configs.items():
        (view / name).mkdir()
        for path in (repository.resolve() / name).iterdir():
            if path.name != _CONFIG:
                (view / name / path.name).symlink_to(path)
        (view / name / _CONFIG).write_text(text_format.MessageToString(config, as_utf8=True), encoding="utf-8")
    return view
