"""What PaddleX's results and pipeline files look like."""
