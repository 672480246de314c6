"""Words that entries and those who start servers say to the adapters; a module of its own, which is quick to import."""

from __future__ import annotations

# Keys of an entry's `parameters`, numbers from 1 on. Absent, the threads share out all cores, and a process answers one
# request at a time. Whoever starts a server may write a number in place of "auto".
THREADS = "threads"  # CPU threads of one run
INSTANCES = "instances"  # of an entry that takes requests in: how many its one process answers at the same time
BY_THE_CORES = "auto"

# Environment variable of a server: "no" where each model is sent an image before the server is called ready.
WARM_UP, NO_WARM_UP = "MASKSERVE_WARM_UP", "no"
