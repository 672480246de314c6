"""Quantise a core to 8-bit integers with NNCF."""
