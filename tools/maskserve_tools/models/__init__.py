"""The official models: what is known of each, and fetching them into a cache."""
