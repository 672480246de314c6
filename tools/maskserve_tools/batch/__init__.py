"""`maskserve batch`: many images, on Ray Data, into files that a second run completes."""
