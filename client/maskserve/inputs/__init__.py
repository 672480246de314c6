"""Sources of images: everything that `predict` accepts."""
