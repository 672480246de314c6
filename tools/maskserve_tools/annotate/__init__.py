"""`maskserve annotate`: a model's answers in the annotation tools that people correct them in."""
