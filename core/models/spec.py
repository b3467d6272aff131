"""What the text of `--model` asks for."""

from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from core.known import OWN


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model's text, taken apart."""

    source: Literal["train", "torchvision", "timm", "checkpoint"]
    name: str  # an architecture for "train" and "torchvision", a name in timm, or a path


def parse_spec(spec: str) -> ModelSpec:
    """Take the text apart.

    `small_resnet` and all of OWN: small networks trained here. `train:NAME`, `train:timm:NAME`: any
    classifier of torchvision or timm, trained here. `NAME`, `timm:NAME`: with published weights.
    `checkpoint:PATH`: a safetensors file. Whether NAME exists is checked when it is built.
    InputError for text of any other form.
    """
    head, colon, rest = spec.partition(":")
    if spec in OWN:
        return ModelSpec(source="train", name=spec)
    if head == "train" and rest.removeprefix("timm:"):
        if rest.startswith("timm:") or ":" not in rest:
            return ModelSpec(source="train", name=rest)
    elif head == "timm" and rest and ":" not in rest:
        return ModelSpec(source="timm", name=rest)
    elif head == "checkpoint" and rest:
        return ModelSpec(source="checkpoint", name=rest)
    elif head and not colon:
        return ModelSpec(source="torchvision", name=head)
    raise InputError(
        f"expected a model such as {', '.join(OWN)}, train:resnet18, resnet50, timm:NAME, "
        f"train:timm:NAME or checkpoint:PATH, got {spec!r}.\n"
        "Hint: names without a prefix are torchvision's, with their published weights."
    )


def needs_training(spec: str) -> bool:
    """Whether the weights are to be found here, from random ones."""
    return parse_spec(spec).source == "train"
