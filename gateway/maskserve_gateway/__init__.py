"""An HTTP service in front of Triton: PaddleX's `POST /instance-segmentation`, for clients in any language."""
