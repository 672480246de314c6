"""`maskserve evaluate`: box and mask AP of a model on a COCO data set."""
