"""Recognising a program's family, and finding where to cut it."""
