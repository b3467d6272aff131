"""Learned codecs and denoisers as defences."""

from core.codec import Rounding, round_through
from core.codec.rounding import of_quantiser
from core.constants import white
from core.defences.base import Defence, Generators
from core.learned import Codec
from core.models.denoiser import Denoiser
from core.shapes import Pixels


class Learned(Defence):
    """Pixels through a learned codec, as its decoder shows them: whole multiples of 1/255."""

    quantises = True

    def __init__(self, codec: Codec) -> None:
        """Takes the codec as it is; its weights are no longer trained."""
        super().__init__()
        self.codec = codec.eval().requires_grad_(requires_grad=False)

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """Compressed and decompressed pixels; `rounding` also of the latents."""
        seen = self.codec(pixels, of_quantiser(rounding))
        return rounding(seen * 255).clamp(0, 255) / white(seen.device)


class Denoised(Defence):
    """Pixels through a network that takes noise out, in no whole levels."""

    def __init__(self, network: Denoiser) -> None:
        """Takes the network as it is; its weights are no longer trained."""
        super().__init__()
        self.network = network.eval().requires_grad_(requires_grad=False)

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """Denoised pixels, cut to [0, 1]; nothing is rounded."""
        seen: Pixels = self.network(pixels).clamp(0, 1)
        return seen
