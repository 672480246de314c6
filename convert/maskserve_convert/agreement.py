"""Whether a model's settings and its program say the same: two files that often come from different exports."""

from __future__ import annotations

from collections.abc import Iterator

from maskserve.errors import ToolError
from maskserve.paddlex.model_files import wrong_name
from maskserve_convert import catalogue
from maskserve_convert.recognised import RecognisedModel
from maskserve_server.families import mask_rcnn, mask_rt_detr, pp_yoloe_seg, solov2
from maskserve_server.steps import Normalize, Step, prepared_size, read_steps

# What `arch` of PaddleDetection and the architecture of PaddleX's names are for each family.
_ARCHITECTURES = {
    mask_rcnn.MaskRCNN.name: (("RCNN",), ("Mask R-CNN", "Cascade Mask R-CNN")),
    mask_rt_detr.MaskRTDETR.name: (("DETR",), ("Mask-RT-DETR",)),
    pp_yoloe_seg.PPYOLOESeg.name: (("PPYOLOE", "YOLO"), ("PP-YOLOE_seg",)),
    solov2.SOLOv2.name: (("SOLOv2", "SOLO"), ("SOLOv2",)),
}
# These families' programs hold numbers that were computed from the input's size, so that no other size works.
_FIXED = (mask_rt_detr.MaskRTDETR.name, pp_yoloe_seg.PPYOLOESeg.name, solov2.SOLOv2.name)


def check_agreement(recognised: RecognisedModel) -> list[str]:
    """Compare the settings of a model with its program.

    Returns:
        A sentence for each thing that is probably wrong, but with which the model works.

    Raises:
        ToolError: they contradict each other so that the model cannot work.
    """
    steps = read_steps(recognised.folder.preprocess)
    return [
        *_input(recognised, steps),
        *_labels(recognised),
        *_names(recognised),
        *_claims(recognised),
        *_numbers(recognised, steps),
    ]


def _input(recognised: RecognisedModel, steps: tuple[Step, ...]) -> Iterator[str]:
    """Compare the image that the steps make with the one that the program reads."""
    folder = recognised.folder
    channels, height, width = recognised.image_shape
    if channels not in (3, -1):
        raise ToolError(f"{folder.program} reads images of {channels} channels; maskserve prepares images of 3")
    reads = "x".join("any" if side <= 0 else str(side) for side in (height, width))
    what = f"{folder.program} reads images of {reads} (height x width), but Preprocess in {folder.settings}"
    made = prepared_size(steps)
    if made is None:
        # An R-CNN computes with whatever size comes, even where its program names one.
        if max(height, width) > 0 and recognised.points.family in _FIXED:
            raise ToolError(
                f"{what} keeps the ratio of each image, so that sizes differ: set keep_ratio to false there, or export "
                "the model for any size"
            )
    elif any(0 < side != size for side, size in zip((height, width), made, strict=True)):
        makes = f"{what} makes them {made[0]}x{made[1]}"
        if recognised.points.family != mask_rcnn.MaskRCNN.name:
            raise ToolError(f"{makes}: correct target_size there, or export the model again")
        yield f"{makes}: an R-CNN runs on that size, too, but was exported for another"


def _labels(recognised: RecognisedModel) -> Iterator[str]:
    folder, classes = recognised.folder, recognised.classes
    count = len(folder.labels)
    chosen = folder.labels_file != folder.settings
    if classes is None:
        unchecked = f"{_counted(count, 'label')} of {folder.labels_file} are not checked"
        yield f"how many classes {folder.program} has cannot be read from it: {unchecked}"
        return
    if count == classes:
        return
    what = f"{folder.labels_file} has {_counted(count, 'label')}, but {folder.program} has {_counted(classes, 'class')}"
    if chosen:
        raise ToolError(f"{what}: give one label for each class, in the order of the class ids")
    comes = f"classes from {count} on are called by their numbers"
    if count > classes:
        comes = ", ".join(f"class {index} is called {folder.labels[index]!r}" for index in sorted({0, classes - 1}))
    remedy = "give the right names with `maskserve convert --labels FILE` or create_pipeline(labels_file=)"
    yield f"{what}: {comes}; {remedy}"


def _counted(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def _names(recognised: RecognisedModel) -> Iterator[str]:
    """Warn about a name that no model can have, and about the official name of another architecture."""
    name = recognised.folder.claims.get("Global.model_name")
    if isinstance(name, str) and recognised.name == recognised.folder.model_name != name:
        yield (
            f"Global.model_name in {recognised.folder.settings}: {wrong_name(name)}; it is called "
            f"{recognised.name} here, and --name chooses another name"
        )
    if not isinstance(name, str) or not catalogue.is_official(name):
        return
    claimed = catalogue.find(name).family.name
    _, known = _ARCHITECTURES[recognised.points.family]
    if claimed not in known:
        yield (
            f"Global.model_name in {recognised.folder.settings} is {name}, but the program is a "
            f"{' or '.join(known)} and is served as one: correct it, or choose what clients call it with --name"
        )


def _claims(recognised: RecognisedModel) -> Iterator[str]:
    folder, claims = recognised.folder, recognised.folder.claims
    arch, (known, names) = claims.get("arch"), _ARCHITECTURES[recognised.points.family]
    if arch is not None and arch.lower() not in {name.lower() for name in known}:
        yield f"arch in {folder.settings} is {arch}, but the program is a {' or '.join(names)} and is served as one"
    if claims.get("mask") is False:
        yield f"mask in {folder.settings} is false, but the program answers with masks, and they are served"
    is_dynamic, says = min(recognised.image_shape[1:]) < 0, claims.get("use_dynamic_shape")
    if says is not None and says != is_dynamic:
        reads = "images of any size" if is_dynamic else "images of {}x{} only".format(*recognised.image_shape[1:])
        yield f"use_dynamic_shape in {folder.settings} is {str(says).lower()}, but the program reads {reads}"


def _numbers(recognised: RecognisedModel, steps: tuple[Step, ...]) -> Iterator[str]:
    """Compare `is_scale` with the size of mean and std: pixels are 0 to 1 with it, and 0 to 255 without."""
    for step in steps:
        if not isinstance(step, Normalize):
            continue
        largest, scaled = max(map(abs, (*step.mean, *step.std))), step.scale != 1
        if largest > 3 if scaled else any(step.mean) and largest <= 1:
            yield (
                f"NormalizeImage in {recognised.folder.settings} has is_scale {str(scaled).lower()}, so that pixels "
                f"are 0 to {1 if scaled else 255}, but its mean and std go up to {largest:g}: they fit the other scale"
            )
