"""Run lengths of enlarged masks, computed along their outlines: no mask is ever painted pixel by pixel.

A mask is a threshold on a small grid of samples that is resized to the image. Between four samples the resized values
are bilinear, so where all four lie on one side of the threshold, so do all pixels between them (`codes`). Only the
other cells, those that the outline runs through, are looked at. Their pixels are evaluated one by one, with the
arithmetic of a plain resize, so the result is the same bit for bit (`blocks`). What changes from one pixel to the next
becomes run lengths (`runs`).
"""
