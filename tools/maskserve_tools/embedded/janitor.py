"""Run as a script: outlive the process that started a server, and remove what it could not remove any more.

usage: python -I -S janitor.py PARENT_PID MARKER GRACE FOLDER REGIONS

Standard input is a pipe whose other end is the parent's. A word through it means that the parent has tidied up itself.
Its end without one means that the parent was killed: the server's processes, which have MARKER in their environment,
have GRACE seconds to end by themselves; then they are killed, and the folder is removed, and the regions, whose paths
begin with REGIONS.
"""

import glob
import os
import select
import shutil
import signal
import sys
import time

_LOOK = 2.0  # seconds; a forked child of the parent may hold the pipe open
_POLL = 0.1


def main(parent: int, marker: bytes, grace: float, folder: str, regions: str) -> None:
    """Wait for the end of the parent, and tidy up unless it has done so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the parent, whose end is what counts
    while not select.select([0], [], [], _LOOK)[0]:
        if os.getppid() != parent:
            break
    else:
        if os.read(0, 1):
            return
    deadline = time.monotonic() + grace
    while marked(marker) and time.monotonic() < deadline:
        time.sleep(_POLL)
    deadline = time.monotonic() + grace
    while (alive := marked(marker)) and time.monotonic() < deadline:
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(_POLL)
    shutil.rmtree(folder, ignore_errors=True)
    for path in glob.glob(f"{glob.escape(regions)}*"):
        try:
            os.unlink(path)
        except OSError:
            continue


def marked(marker: bytes) -> list[int]:
    """Return the ids of the living processes that have `marker` in their environment, but for this one."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if marker in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]), os.fsencode(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
