"""The codecs of the thesis: an image to whole-numbered latents, to a string, and back.

BLS: Balle, Laparra and Simoncelli (2017), "End-to-end optimized image compression". BMHJ: Balle,
Minnen, Singh, Hwang and Johnston (2018), "Variational image compression with a scale hyperprior".
Both layouts are those of the authors' reference code.
"""

import abc
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import InputError
from core.learned import density
from core.learned.coder import Decoder, Encoder, String
from core.learned.gdn import GDN
from core.models.weights import load_weights
from core.shapes import PerImage, Pixels

Quantise = Callable[[Tensor], Tensor]  # torch.round, or what stands for it


class Priced(NamedTuple):
    """What a decoder makes of images, and what their latents cost by the density."""

    pixels: Tensor  # [n, c, h, w], neither clipped nor rounded
    bits: PerImage
    bits_side: PerImage  # of them those of the hyperlatent


class Codec(nn.Module, abc.ABC):
    """Images of any sides: padded by their last row and column to a multiple of `multiple`.

    `quantise` is torch.round, a rounding with another derivative (`core.codec.rounding`), or adds
    noise. Pictures come out as the network gives them, neither clipped nor rounded.
    """

    multiple: int
    analysis: nn.Module
    synthesis: nn.Module

    def forward(self, pixels: Pixels, quantise: Quantise = torch.round) -> Tensor:
        """What the decoder makes of pixels."""
        return self.picture(quantise(self.latents(pixels)), *pixels.shape[-2:])

    def priced(self, pixels: Pixels, quantise: Quantise = torch.round) -> Priced:
        """The same, and its bits."""
        latents = self.latents(pixels)
        seen = quantise(latents)
        cost = self._cost(latents, seen, quantise)
        return Priced(self.picture(seen, *pixels.shape[-2:]), *cost)

    def latents(self, pixels: Pixels) -> Tensor:
        """[n, c, h, w], before they are rounded."""
        height, width = pixels.shape[-2:]
        beyond = (0, -width % self.multiple, 0, -height % self.multiple)
        whole = functional.pad(pixels, beyond, mode="replicate") if any(beyond) else pixels
        out: Tensor = self.analysis(whole)
        return out

    def picture(self, latents: Tensor, height: int, width: int) -> Tensor:
        """What is made of whole-numbered latents, without what was padded."""
        out: Tensor = self.synthesis(latents)[..., :height, :width]
        return out

    @abc.abstractmethod
    def encode(self, latents: Tensor) -> list[String]:
        """A string for each image's latents, rounded."""

    @torch.no_grad()
    def decode(self, strings: Sequence[bytes], height: int, width: int) -> Tensor:
        """The latents of strings; InputError names the first that is torn or none of such sides."""
        sides = [side + -side % self.multiple for side in (height, width)]
        found = []
        for i, data in enumerate(strings):
            decoder = Decoder(data)
            try:
                found.append(self._decoded(decoder, *sides))
                decoder.finish()
            except InputError as cause:
                raise InputError(
                    f"string {i + 1} of {len(strings)} is no whole one: {cause}"
                ) from None
        return torch.cat(found).to(next(self.parameters()))

    @abc.abstractmethod
    def settle(self) -> None:
        """Work out the integer tables of the weights as they are."""

    @abc.abstractmethod
    def _cost(self, latents: Tensor, seen: Tensor, quantise: Quantise) -> tuple[PerImage, PerImage]:
        """All bits and those of the hyperlatent, by the density of what was `seen`, quantised."""

    @abc.abstractmethod
    def _decoded(self, decoder: Decoder, height: int, width: int) -> Tensor:
        """One image's latents; its sides are padded ones."""


class BLS(Codec):
    """Three layers with GDN between them; a density for each channel. Sides of 16."""

    multiple = 16
    tables: Tensor

    def __init__(self, *, channels: int, filters: int) -> None:
        super().__init__()
        self.analysis = nn.Sequential(
            _down(channels, filters, 9, stride=4), GDN(filters),
            _down(filters, filters, 5), GDN(filters),
            _down(filters, filters, 5),
        )  # fmt: skip
        self.synthesis = nn.Sequential(
            _up(filters, filters, 5), GDN(filters, inverse=True),
            _up(filters, filters, 5), GDN(filters, inverse=True),
            _up(filters, channels, 9, stride=4),
        )  # fmt: skip
        self.density = density.Factorised(filters)
        self.register_buffer("tables", self.density.tables())

    def encode(self, latents: Tensor) -> list[String]:
        """As `Codec.encode`."""
        tables, strings = density.tables_of(self.tables), []
        for levels in _whole_numbers(latents):
            encoder = Encoder()
            encoder.put(levels, _by_channel(latents), tables)
            strings.append(encoder.string())
        return strings

    def settle(self) -> None:
        """As `Codec.settle`."""
        self.tables = self.density.tables()

    def _cost(self, latents: Tensor, seen: Tensor, quantise: Quantise) -> tuple[PerImage, PerImage]:
        del latents, quantise
        bits = _bits(self.density(seen))
        return bits, torch.zeros_like(bits)

    def _decoded(self, decoder: Decoder, height: int, width: int) -> Tensor:
        latents = torch.zeros(1, len(self.tables), height // 16, width // 16)
        levels = decoder.get(_by_channel(latents), density.tables_of(self.tables))
        return torch.tensor(levels).view(latents.shape)


class BMHJ(Codec):
    """Four layers with GDN between them; Gaussians whose scales a hyperlatent tells. Sides of 64.

    A string holds the hyperlatent first. The scales of its latents are worked out in float64 on
    the CPU, image by image, by writer and reader alike.
    """

    multiple = 64
    tables: Tensor
    gaussian_tables: Tensor

    def __init__(self, *, channels: int, filters: int) -> None:
        """`filters` in all layers but the latent, which has half as many more."""
        super().__init__()
        n, m = filters, filters * 3 // 2
        self.analysis = nn.Sequential(
            _down(channels, n, 5), GDN(n), _down(n, n, 5), GDN(n), _down(n, n, 5), GDN(n),
            _down(n, m, 5),
        )  # fmt: skip
        self.synthesis = nn.Sequential(
            _up(m, n, 5), GDN(n, inverse=True), _up(n, n, 5), GDN(n, inverse=True),
            _up(n, n, 5), GDN(n, inverse=True), _up(n, channels, 5),
        )  # fmt: skip
        self.hyper_analysis = nn.Sequential(
            _down(m, n, 3, stride=1), nn.ReLU(), _down(n, n, 5), nn.ReLU(), _down(n, n, 5)
        )
        self.hyper_synthesis = nn.Sequential(
            _up(n, n, 5), nn.ReLU(), _up(n, n, 5), nn.ReLU(), _down(n, m, 3, stride=1), nn.ReLU()
        )
        self.density = density.Factorised(n)
        self.register_buffer("tables", self.density.tables())
        self.register_buffer("gaussian_tables", density.gaussian_tables())

    @torch.no_grad()
    def encode(self, latents: Tensor) -> list[String]:
        """As `Codec.encode`."""
        hyper, strings = self.hyper_analysis(latents.abs()).round(), []
        tables, gaussian = map(density.tables_of, (self.tables, self.gaussian_tables))
        classes = self._scale_classes()
        each = zip(_whole_numbers(hyper), _whole_numbers(latents), hyper, strict=True)
        for side, levels, own in each:
            encoder = Encoder()
            encoder.put(side, _by_channel(hyper), tables)
            encoder.put(levels, classes(own[None]), gaussian)
            strings.append(encoder.string())
        return strings

    def settle(self) -> None:
        """As `Codec.settle`."""
        self.tables = self.density.tables()

    def _cost(self, latents: Tensor, seen: Tensor, quantise: Quantise) -> tuple[PerImage, PerImage]:
        hyper = quantise(self.hyper_analysis(latents.abs()))
        side = _bits(self.density(hyper))
        return _bits(density.gaussian(seen, self.hyper_synthesis(hyper))) + side, side

    def _decoded(self, decoder: Decoder, height: int, width: int) -> Tensor:
        hyper = torch.zeros(1, len(self.tables), height // 64, width // 64)
        side = decoder.get(_by_channel(hyper), density.tables_of(self.tables))
        classes = self._scale_classes()(torch.tensor(side).view(hyper.shape))
        levels = decoder.get(classes, density.tables_of(self.gaussian_tables))
        return torch.tensor(levels).view(1, -1, height // 16, width // 16)

    def _scale_classes(self) -> Callable[[Tensor], list[int]]:
        """Of one image's hyperlatent: which of the Gaussian's tables each latent is coded by."""
        exact = copy.deepcopy(self.hyper_synthesis).cpu().double()
        steps = density.scale_steps()
        between = (steps[1:] * steps[:-1]).sqrt()

        def classes(hyper: Tensor) -> list[int]:
            scales: Tensor = exact(hyper.cpu().double())
            found: list[int] = torch.bucketize(scales.flatten(), between).tolist()
            return found

        return classes


KINDS: Mapping[str, type[BLS | BMHJ]] = {"bls": BLS, "bmhj": BMHJ}
FORMAT = "qtable-sweeps codec 1"


def blank(kind: str, *, channels: int, filters: int) -> Codec:
    """A codec of random weights, as torch's global generator gives them; InputError for no KIND."""
    if kind not in KINDS:
        raise InputError(
            f"expected a learned codec among {', '.join(KINDS)}, got {kind!r}.\n"
            "Hint: bls has a density for each channel, bmhj a scale hyperprior."
        )
    return KINDS[kind](channels=channels, filters=filters)


def to_tensors(codec: Codec) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights and integer tables (copies, on the CPU) and what they are: safetensors' form."""
    held = codec.state_dict().items()
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in held}
    kind = next(name for name, made in KINDS.items() if isinstance(codec, made))
    channels, filters = (codec.get_parameter("analysis.0.weight").shape[i] for i in (1, 0))
    return tensors, {
        "format": FORMAT, "kind": kind, "channels": str(channels), "filters": str(filters),
    }  # fmt: skip


def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Codec:
    """The codec that `to_tensors` took apart, in eval mode on the CPU; InputError for others."""
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"expected a learned codec, found {dict(metadata) or 'tensors of another kind'}.\n"
            "Hint: jobs/rate_distortion.py trains codecs and says where they are stored."
        )
    shape = {name: int(metadata[name]) for name in ("channels", "filters")}
    with torch.random.fork_rng(devices=[]):
        codec = blank(metadata["kind"], **shape)
    load_weights(codec, tensors)
    return codec.eval()


def _down(n_in: int, n_out: int, side: int, *, stride: int = 2) -> nn.Module:
    return nn.Conv2d(n_in, n_out, side, stride, padding=side // 2)


def _up(n_in: int, n_out: int, side: int, *, stride: int = 2) -> nn.Module:
    return nn.ConvTranspose2d(
        n_in, n_out, side, stride, padding=side // 2, output_padding=stride - 1
    )


def _bits(likelihoods: Tensor) -> PerImage:
    return -likelihoods.flatten(1).log2().sum(1)


def _whole_numbers(latents: Tensor) -> list[list[int]]:
    levels: list[list[int]] = latents.round().long().flatten(1).tolist()
    return levels


def _by_channel(latents: Tensor) -> Iterable[int]:
    """The row of each of one image's latents in the tables: its channel."""
    n_channels, n_places = latents.shape[1], latents.shape[2] * latents.shape[3]
    return chain.from_iterable(repeat(channel, n_places) for channel in range(n_channels))
