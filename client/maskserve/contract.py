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
PARAMETER_CLASSES = "classes"  # how many classes the network tells apart; absent where that is not known
PARAMETER_DRAW_THRESHOLD = "draw_threshold"

# Of a request: it is a test of the server, which a full queue lets in, one at a time and in front.
PARAMETER_PROBE = "maskserve_probe"

# The entries that a model of layout "ensemble" consists of: MODEL.preprocess and so on. Clients do not call them.
PREPROCESS, CORE, POSTPROCESS = "preprocess", "core", "postprocess"
STEPS = (PREPROCESS, CORE, POSTPROCESS)


def step_name(model: str, step: str) -> str:
    """Return the name of the entry that is `step` of `model`."""
    return f"{model}.{step}"


def entries_of(model: str) -> tuple[str, ...]:
    """Return the names of the entries of a model of layout "ensemble", that of the model itself first."""
    return model, *(step_name(model, step) for step in STEPS)


def model_of(name: str) -> str | None:
    """Return the model that an entry called `name` would be a step of; None where it is not called like a step."""
    model, _, step = name.rpartition(".")
    return model if model and step in STEPS else None
