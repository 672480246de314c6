"""Small networks of every family, exported by Paddle itself for any number of classes, batch and size."""
