"""Run the `maskserve` command as `python -m maskserve`. Its entry point is looked up: the client imports no tools."""

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    command = next(iter(entry_points(group="console_scripts", name="maskserve")))
    sys.exit(command.load()())
