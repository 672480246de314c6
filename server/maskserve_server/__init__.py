"""What runs inside Triton: preprocessing, the core's engines, and postprocessing."""
