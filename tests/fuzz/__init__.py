"""Hostile images by the thousand, through the real decoders."""
