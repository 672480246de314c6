"""The entries of a repository with the instances and threads that fit the machine."""

from __future__ import annotations

from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Wanted, size_model
from maskserve_tools.embedded.survey import Survey


def sized(found: Survey, cores: int, asked: Wanted) -> Survey:
    """Write into the configurations of a survey how each model is run; the repository stays as it is.

    Args:
        found: what is to be served.
        cores: how many threads can compute at the same time.
        asked: what comes before what the entries say.
    """
    configs, failures = {entry.name: entry.config for entry in found.entries}, dict[str, str]()
    for name in configs:
        try:
            size_model(name, configs, cores, asked)
        except ToolError as error:
            failures[name] = error.message
    return found.without(failures)
