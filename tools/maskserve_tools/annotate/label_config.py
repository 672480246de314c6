"""Label Studio's labeling configuration: where the regions of a model belong in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from maskserve.errors import InvalidParameter, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskserve.exports.label_studio import Form

_TAGS: dict[str, Form] = {"BrushLabels": "brush", "PolygonLabels": "polygon"}
_NAMED = 5  # labels in a message


@dataclass(frozen=True, slots=True)
class Target:
    """Where regions go.

    Attributes:
        form: what they are.
        from_name: the name of the tag with the labels.
        to_name: the name of the `Image` tag.
        key: what the image is called in the data of a task.
        labels: the project's label for each of the model's that it has.
    """

    form: Form
    from_name: str
    to_name: str
    key: str
    labels: Mapping[str, str]


def read_label_config(config: str, model_labels: Sequence[str], form: Form | None = None) -> Target:
    """Find the tag for a model's regions in a labeling configuration.

    A label of the project is the model's of the same name, whatever its case, or the ones that its `predicted_values`
    lists, with commas between them.

    Args:
        config: XML.
        model_labels: the labels of the model.
        form: which kind of tag to look for; None for the first one of either.

    Raises:
        InvalidParameter: it is not XML, has no such tag for an image, or none of the model's labels.
    """
    try:
        root = ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        raise InvalidParameter(f"the labeling configuration is not XML: {error}") from None
    images = {tag.get("name"): tag.get("value") or "" for tag in root.iter("Image")}
    wanted = [name for name, kind in _TAGS.items() if form in (None, kind)]
    found = [tag for tag in root.iter() if tag.tag in wanted and tag.get("toName") in images and tag.get("name")]
    if not found:
        tags = " or ".join(f"<{name}>" for name in wanted)
        raise InvalidParameter(f"the labeling configuration has no {tags} tag for an <Image>: add one")
    tag, to_name = found[0], found[0].get("toName") or ""
    if not images[to_name].startswith("$"):
        raise InvalidParameter(
            f'<Image name="{to_name}"> of the labeling configuration has no value="$...": lists of images are not '
            f"supported"
        )
    labels = dict(_matched(tag, model_labels))
    if not labels:
        own = [label.get("value") or "" for label in tag.iter("Label")]
        example = model_labels[0] if model_labels else "person"
        raise InvalidParameter(
            f"no label of the model is one of <{tag.tag}>: the model has {listed(model_labels, _NAMED)}, the project "
            f'{listed(own, _NAMED) if own else "none"}. Add <Label value="{example}"/>, or say predicted_values='
            f'"{example}" in a <Label>'
        )
    return Target(_TAGS[str(tag.tag)], tag.get("name") or "", to_name, images[to_name][1:], labels)


def _matched(tag: ElementTree.Element, model_labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the model's labels with those of the project."""
    named: dict[str, str] = {}
    predicted: dict[str, str] = {}
    for label in tag.iter("Label"):
        value = label.get("value") or ""
        named.setdefault(value.casefold(), value)
        for name in (label.get("predicted_values") or "").split(","):
            predicted[name.strip()] = value
    named.pop("", None)
    for model_label in model_labels:
        chosen = predicted.get(model_label) or named.get(model_label.casefold())
        if chosen is not None:
            yield model_label, chosen
