"""Save results: where files go, what they are called, and how they are written."""
