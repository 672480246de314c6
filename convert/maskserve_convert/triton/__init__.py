"""Write the entries of a Triton model repository."""
