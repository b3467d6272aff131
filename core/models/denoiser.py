"""A residual network from noisy images to clean ones, and its name as one text.

"denoiser:sigma=0.1,skips=both", in the bank "denoiser-both@" and its piece's name.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from core import spec
from core.errors import InputError
from core.known import SKIPS
from core.models.weights import load_weights
from core.shapes import Pixels

_PIECE = re.compile(rf"denoiser-({'|'.join(SKIPS)})@([0-9a-f]{{64}})", re.ASCII)
_SETTINGS: Mapping[str, Callable[[str], object]] = {
    "sigma": float,
    "skips": str,
    **dict.fromkeys(("width", "blocks", "epochs", "run"), int),
}


class Denoiser(nn.Module):
    """3x3 convolutions at full size: a stem, blocks of two with batch norm, and the picture.

    `skips` says which skip connections there are: around each block, from input to output (the
    network then predicts what is to be added to the noisy image), both or none. What has a skip
    around it begins at 0, so that its skip is all there is at first.

    Source: blocks of He et al. (2016), "Deep Residual Learning for Image Recognition", 3.2, without
    pooling; the skip to the output as in Zhang et al. (2017), "Beyond a Gaussian denoiser", 3.1;
    beginning at 0: Goyal et al. (2017), "Accurate, Large Minibatch SGD", 5.1.
    """

    def __init__(self, *, channels: int, width: int, n_blocks: int, skips: str) -> None:
        """InputError for unknown skips."""
        super().__init__()
        if skips not in SKIPS:
            raise InputError(
                f"expected skip connections among {', '.join(SKIPS)}, got {skips!r}.\n"
                "Hint: both is the usual residual denoiser."
            )
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        blocks = [_block(width) for _ in range(n_blocks)]
        self.blocks = nn.ModuleList(blocks)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        self.around = skips in ("both", "block")
        self.across = skips in ("both", "global")
        for block in blocks if self.around else ():
            nn.init.zeros_(block.get_parameter("4.weight"))
        for weight in self.out.parameters() if self.across else ():
            nn.init.zeros_(weight)

    def forward(self, noisy: Pixels) -> Tensor:
        """The clean images, not clipped."""
        x = functional.relu(self.stem(noisy - 0.5))
        for block in self.blocks:
            x = functional.relu(x + block(x) if self.around else block(x))
        out: Tensor = self.out(x)
        return noisy + out if self.across else out + 0.5


def from_tensors(tensors: Mapping[str, Tensor], *, skips: str) -> Denoiser:
    """The denoiser of a state dict, in eval mode on the CPU; InputError for another network's."""
    stem = tensors.get("stem.weight")
    if stem is None or stem.ndim != 4:
        raise InputError(
            f"expected a denoiser's weights, found {', '.join(sorted(tensors)[:3])}.\n"
            "Hint: jobs/denoise.py trains denoisers."
        )
    n_blocks = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    width, channels = stem.shape[:2]
    with torch.random.fork_rng(devices=[]):
        network = Denoiser(channels=channels, width=width, n_blocks=n_blocks, skips=skips)
    load_weights(network, tensors)
    return network.eval()


def is_denoiser(name: str) -> bool:
    """Whether a defence's name begins as a denoiser's."""
    return re.split("[:@-]", name, maxsplit=1)[0] == "denoiser"


def piece_of(name: str) -> tuple[str, str] | None:
    """Skips and piece that a name such as "denoiser-both@PIECE" says; None for any other name."""
    match = _PIECE.fullmatch(name)
    return (match[1], match[2]) if match else None


def read(name: str) -> dict[str, object]:
    """The settings in "denoiser:sigma=0.1,skips=both"; InputError for other names."""
    head, given = spec.read(name)
    try:
        settings = {key: _SETTINGS[key](value) for key, value in given.items()}
    except (KeyError, ValueError):
        head = ""
    if head != "denoiser":
        raise InputError(
            f"expected a denoiser with some of {', '.join(_SETTINGS)}, got {name!r}.\n"
            "Hint: such as denoiser:sigma=0.1,skips=both; what is left out, the store decides."
        )
    if settings.get("skips", SKIPS[0]) not in SKIPS:
        raise InputError(
            f"expected a denoiser's skips among {', '.join(SKIPS)}, got {name!r}.\n"
            f"Hint: such as denoiser:skips={SKIPS[0]}."
        )
    return settings


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
    )
