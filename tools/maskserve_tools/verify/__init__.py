"""Holding a served model against Paddle itself."""
