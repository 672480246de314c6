"""The product's own drawing: one look for saved images, the REST service, videos, and the page (docs/drawing.md)."""
