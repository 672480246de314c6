"""Run a model in this process: no server, no port, no shared memory. Needs `maskserve[local]`."""
