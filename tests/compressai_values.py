"""What CompressAI 1.2.8 answers for small layers and a small codec: golden/compressai.json.

It needs numpy below 2, hence an environment of its own, made once: `python compressai_values.py`
there writes the file. Weights and inputs are sines, so that only answers are stored; `filled` and
`wave` make them for both sides.
"""

import json
from pathlib import Path

import torch

GOLDEN = Path(__file__).parent / "golden" / "compressai.json"
CHANNELS, FILTERS = 4, 2


def wave(*shape, phase=0.0):
    """Float64 numbers in -1..1 that are the same everywhere."""
    n = torch.Size(shape).numel()
    return torch.sin(phase + 0.7 * torch.arange(n, dtype=torch.float64)).view(shape)


OURS = {"g_a": "analysis", "g_s": "synthesis", "h_a": "hyper_analysis", "h_s": "hyper_synthesis",
        "entropy_bottleneck": "density"}  # fmt: skip


def filled(module, scale=0.3):
    """The module in float64: a wave in each parameter, in order of their names in our codecs.

    It is added to those that are above 0 at the beginning, and takes the place of all others.
    """
    module = module.double()
    named = {}
    for name, weight in module.named_parameters():
        head, dot, rest = name.partition(".")
        named[OURS.get(head, head) + dot + rest] = weight
    named = {name: weight for name, weight in named.items() if "quantiles" not in name}
    with torch.no_grad():
        for i, (name, weight) in enumerate(sorted(named.items())):
            kept = weight if any(w in name for w in ("beta", "gamma", "matrices")) else 0
            weight.copy_(kept + scale * wave(*weight.shape, phase=float(i)))
    return module


def sample(tensor):
    """Up to 64 of its numbers, evenly spread."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, len(flat) // 64)].tolist()


def layer(gdn):
    """A layer's outputs and the gradients of its parameters, some of which lie at their bound."""
    with torch.no_grad():
        gdn.beta[0], gdn.gamma[0, 1] = -0.5, -0.5
    out = gdn(2 * wave(2, CHANNELS, 3, 3))
    (out * wave(*out.shape, phase=1.0)).sum().backward()
    return {"out": sample(out), "beta": sample(gdn.beta.grad), "gamma": sample(gdn.gamma.grad)}


def main():
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.layers import GDN
    from compressai.models import ScaleHyperprior

    values = {
        f"gdn {inverse}": layer(filled(GDN(CHANNELS, inverse=inverse))) for inverse in (False, True)
    }
    density = filled(EntropyBottleneck(CHANNELS).eval())
    values["factorised"] = sample(density(30 * wave(2, CHANNELS, 5, 5))[1])
    conditional = GaussianConditional(None).double().eval()
    levels, scales = (20 * wave(2, 3, 4, 4)).round(), 5 * wave(2, 3, 4, 4, phase=1.0).abs()
    values["gaussian"] = sample(conditional(levels, scales)[1])
    codec = filled(ScaleHyperprior(FILTERS, 3 * FILTERS // 2).eval(), scale=0.5)
    whole = codec(wave(1, 3, 64, 64) / 2 + 0.5)
    values["codec"] = {
        "pixels": sample(whole["x_hat"]),
        "bits": [-whole["likelihoods"][name].detach().log2().sum().item() for name in "yz"],
    }
    GOLDEN.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
