"""What a decoder's process and its parent tell each other over a socket: one packet each, in this order.

Parent: an `ORDER`; the file is in the memory that both have.
Decoder: `TAKEN` when it has read the file, then either `PIXELS` and a `SIZE`, with a file descriptor where the pixels'
memory is new, or `REFUSED` and the text of an error. `READY` is its first packet.
"""

from __future__ import annotations

import struct

# Bytes of the file, limits on bytes and pixels, the height and width that are enough (0 for all pixels).
ORDER = struct.Struct("<QQQQQ")
SIZE = struct.Struct("<QQ")  # height and width
READY, TAKEN, PIXELS, REFUSED = b"r", b"t", b"p", b"e"
PACKET_BYTES = 4096
