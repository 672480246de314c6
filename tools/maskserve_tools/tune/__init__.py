"""`maskserve tune`: measure the ways to serve a model on this machine, and write the best one into its entry."""
