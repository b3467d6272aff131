"""How a network's images are normalised: as its publisher says, or as the user does."""

from typing import NamedTuple

from core.errors import InputError
from core.known import STATISTICS
from core.models.architectures import timm_module


class Statistics(NamedTuple):
    """What is subtracted from pixels in [0, 1], and what they are then divided by."""

    mean: tuple[float, ...]  # one for each channel that the backbone reads
    std: tuple[float, ...]

    @property
    def text(self) -> str:
        """As `parse_statistics` reads it; the same for the same numbers."""
        return "/".join(
            ",".join(f"{x:.7g}" for x in (part if len(set(part)) > 1 else part[:1]))
            for part in self
        )


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def parse_statistics(text: str, n_channels: int) -> Statistics:
    """The statistics that `--normalise` asks for; InputError for text of no known form.

    One number stands for all channels; one number alone is both mean and deviation.
    """
    if text == "imagenet" and n_channels == 3:
        return IMAGENET
    mean, slash, std = ("0", "/", "1") if text == "none" else text.partition("/")
    try:
        parts = [tuple(map(float, part.split(","))) for part in (mean, std if slash else mean)]
    except ValueError:
        parts = []
    fits = all(len(part) in (1, n_channels) for part in parts)
    if (
        not parts
        or not fits
        or not all(0 <= m <= 1 for m in parts[0])
        or not all(0 < s <= 1 for s in parts[1])
    ):
        raise InputError(
            f"expected --normalise {STATISTICS}, means in 0..1 and deviations above 0 and up to 1, "
            f"for {n_channels} channel{'s' * (n_channels > 1)}, got {text[:80]!r}.\n"
            "Hint: the numbers are those of pixels in [0, 1]; divide those of levels 0..255 by 255."
        )
    wide = [part * n_channels if len(part) == 1 else part for part in parts]
    return Statistics(wide[0], wide[1])


def published(architecture: str) -> Statistics:
    """What torchvision or timm publishes for its own weights of three channels, else ImageNet's.

    GoogLeNet and Inception of torchvision turn ImageNet's normalisation into that of 0.5 themselves
    where their weights are torchvision's; a backbone that is built here does not.
    """
    if architecture in ("googlenet", "inception_v3"):
        return Statistics((0.5,) * 3, (0.5,) * 3)
    if not architecture.startswith("timm:"):
        return IMAGENET
    name = architecture.removeprefix("timm:")
    said = timm_module(name, pretrained=False).get_pretrained_cfg(name)
    return Statistics(tuple(said.mean), tuple(said.std)) if said else IMAGENET
