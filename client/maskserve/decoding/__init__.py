"""Decode untrusted image files, in the server and where a result is drawn."""
