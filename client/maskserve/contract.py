"""The wire contract: the names, types and configuration keys that the served models and their clients share.

One request carries one image. Batching happens between requests, inside the server, so that every answer can
have its own number of instances.

========== ========= ===================================================================================
input      type      meaning
========== ========= ===================================================================================
IMAGE      BYTES [1] an encoded image file (JPEG, PNG, WebP, BMP, TIFF)
THRESHOLD  FP32 [1]  optional: keep instances with a higher score; absent: the model's ``draw_threshold``
CLASS_IDS  INT32 [K] optional: keep only these classes
========== ========= ===================================================================================

=========== =========== ================================================================================
output      type        meaning
=========== =========== ================================================================================
BOXES       FP32 [N,4]  x0, y0, x1, y1 in pixels of the original image
SCORES      FP32 [N]    confidence
LABELS      INT32 [N]   class index; the names are in the model's configuration
MASKS       BYTES [N]   compressed COCO run lengths of the mask inside MASK_BOXES
MASK_BOXES  INT32 [N,4] x, y, width, height of the mask crop in the original image
IMAGE_SIZE  INT32 [2]   height, width of the original image
=========== =========== ================================================================================
"""

VERSION = 1

IMAGE = "IMAGE"
THRESHOLD = "THRESHOLD"
CLASS_IDS = "CLASS_IDS"

BOXES = "BOXES"
SCORES = "SCORES"
LABELS = "LABELS"
MASKS = "MASKS"
MASK_BOXES = "MASK_BOXES"
IMAGE_SIZE = "IMAGE_SIZE"
OUTPUTS = (BOXES, SCORES, LABELS, MASKS, MASK_BOXES, IMAGE_SIZE)

# Keys of the `parameters` map in the model configuration of the entry that clients call.
PARAMETER_CONTRACT = "maskserve_contract"
PARAMETER_LABELS = "labels"  # JSON list of class names, by class index
PARAMETER_DRAW_THRESHOLD = "draw_threshold"
PARAMETER_MODEL_NAME = "paddle_model_name"  # Global.model_name of inference.yml
