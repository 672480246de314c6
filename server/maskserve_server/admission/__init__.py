"""What is taken in and what is refused, before any work is done on a request.

Triton's own queue cannot do this. Without a queue policy it has no bound: with 64 clients every answer comes too late.
With one (`max_queue_size`, `default_timeout_microseconds`) its batcher sleeps for up to half a second between two
requests: half of the images per second, measured with Triton 2.51 (docs/reliability.md). So the first step of a model
takes its requests out of Triton's queue at once, keeps them in a queue of its own, and answers later.
"""
