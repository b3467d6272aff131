"""How fast learned codecs are trained and coded, and beside CompressAI where that is installed.

A training step of the same layers and widths (five by five, four times), side by side in one run;
coding and decoding of a 32 px image of 128 filters, a string each, with the same density.
CompressAI needs numpy below 2, hence an environment of its own, where `core` needs little else.
"""

import importlib
import statistics
import time
from collections.abc import Callable

import torch
from begin import words
from torch import Tensor, nn

from core.learned.coder import Decoder, Encoder, String
from core.learned.density import Factorised, tables_of
from core.learned.gdn import GDN

FILTERS, LATENT, N_IMAGES, N_ROUNDS = 64, 96, 60, 8
THEIRS = importlib.util.find_spec("compressai") is not None


class Ours(nn.Module):
    """The layers of CompressAI's `FactorizedPrior`."""

    def __init__(self) -> None:
        super().__init__()
        n, m = FILTERS, LATENT
        down = [nn.Conv2d(a, b, 5, 2, 2) for a, b in ((3, n), (n, n), (n, n), (n, m))]
        up = [nn.ConvTranspose2d(a, b, 5, 2, 2, output_padding=1)
              for a, b in ((m, n), (n, n), (n, n), (n, 3))]  # fmt: skip
        self.g_a = nn.Sequential(down[0], GDN(n), down[1], GDN(n), down[2], GDN(n), down[3])
        inverse = [GDN(n, inverse=True) for _ in range(3)]
        self.g_s = nn.Sequential(up[0], inverse[0], up[1], inverse[1], up[2], inverse[2], up[3])
        self.density = Factorised(m)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and likelihoods."""
        latents = self.g_a(pixels)
        latents = latents + torch.rand(latents.shape) - 0.5
        return self.g_s(latents), self.density(latents)


def stepping(
    model: nn.Module, seen: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> Callable[[], None]:
    """One step of training."""
    weights = [w for name, w in model.named_parameters() if "quantiles" not in name]
    optimiser, pixels = torch.optim.Adam(weights, 1e-4), torch.rand(16, 3, 32, 32)

    def step() -> None:
        pictures, likelihoods = seen(pixels)
        error = (pictures - pixels).square().mean()
        optimiser.zero_grad()
        (0.01 * 255**2 * error - likelihoods.log2().sum() / pixels[:, 0].numel()).backward()
        optimiser.step()

    return step


def seconds(works: dict[str, Callable[[], object]], n: int) -> dict[str, float]:
    """CPU seconds of each, in turns: the median of `N_ROUNDS`."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(N_ROUNDS):
        for name, work in works.items():
            work()
            start = time.process_time()
            for _ in range(n):
                work()
            taken[name].append((time.process_time() - start) / n)
    return {name: statistics.median(values) for name, values in taken.items()}


def claim(what: str, value: float, limit: float, *, at_most: bool = True) -> bool:
    """As common's, which imports more than CompressAI's environment has."""
    holds = value <= limit if at_most else value >= limit
    print(
        f"{'ok  ' if holds else 'MISS'} {what}: {value:.3f} ({'<=' if at_most else '>='} {limit:g})"
    )
    return holds


def main() -> int:
    """Coding, and what there is to compare."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    density, levels = Factorised(128), (2 * torch.randn(N_IMAGES, 128, 2, 2)).round()
    tables, rows = (
        tables_of(density.tables()),
        [channel for channel in range(128) for _ in range(4)],
    )
    flat = levels.long().flatten(1).tolist()

    def encode() -> list[String]:
        strings = []
        for own in flat:
            encoder = Encoder()
            encoder.put(own, rows, tables)
            strings.append(encoder.string())
        return strings

    strings = encode()

    def decode() -> list[list[int]]:
        decoders = [Decoder(string.data) for string in strings]
        return [decoder.get(rows, tables) for decoder in decoders]

    holds = decode() == flat
    coding = seconds({"encode": encode, "decode": decode}, 1)
    for name, taken in coding.items():
        holds &= claim(f"{name}, images a second", N_IMAGES / taken, 500, at_most=False)
    with torch.no_grad():
        bits = -density(levels).log2().flatten(1).sum(1)
    over = (torch.tensor([string.n_bits for string in strings]) - bits).mean().item()
    holds &= claim("bits a string over its estimate", over, 3)
    ours = Ours().to(memory_format=torch.channels_last)
    if not THEIRS:
        print(f"{1000 * seconds({'step': stepping(ours, ours)}, 3)['step']:.1f} ms a training step")
        return not holds
    return not (beside_theirs(ours, levels, coding) and holds)


def beside_theirs(ours: Ours, levels: Tensor, coding: dict[str, float]) -> bool:
    """The same by CompressAI, whose strings are of its own density as it begins."""
    bottleneck = importlib.import_module("compressai.entropy_models").EntropyBottleneck(128).eval()
    prior = importlib.import_module("compressai.models").FactorizedPrior(FILTERS, LATENT)

    def seen(pixels: Tensor) -> tuple[Tensor, Tensor]:
        out = prior(pixels)
        return out["x_hat"], out["likelihoods"]["y"]

    steps = seconds({"ours": stepping(ours, ours), "theirs": stepping(prior, seen)}, 3)
    holds = claim("training step, theirs / ours", steps["theirs"] / steps["ours"], 1, at_most=False)
    bottleneck.update(force=True)
    strings = bottleneck.compress(levels)
    taken = seconds({
        "encode": lambda: bottleneck.compress(levels),
        "decode": lambda: bottleneck.decompress(strings, (2, 2)),
    }, 1)  # fmt: skip
    for name, theirs in taken.items():
        print(f"{name}, theirs / ours: {theirs / coding[name]:.2f}")
    with torch.no_grad():
        estimate = -bottleneck(levels)[1].log2().flatten(1).sum(1)
    over = (torch.tensor([8 * len(string) for string in strings]) - estimate).mean().item()
    print(f"theirs: {over:.1f} bits a string over its estimate of {estimate.mean():.0f}")
    return holds


if __name__ == "__main__":
    words()
    raise SystemExit(main())
