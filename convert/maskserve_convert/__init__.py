"""From a Paddle inference folder to the entries of a Triton repository."""
