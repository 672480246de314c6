"""`maskserve batch`: many photos, on Ray Data, into files that a second run completes."""
