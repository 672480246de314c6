"""The demo model: people in ordinary photos, as a PaddleX inference folder.

Not part of the maskserve wheel: this package holds everything that made `demo/model`.
"""
