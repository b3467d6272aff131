"""Seeds for independent streams of random numbers, derived from the one that the user gives."""

import hashlib

import torch


def derived(seed: int, *names: object) -> int:
    """A seed in 0 .. 2**32 - 1 for the stream that `names` tell apart.

    torch's CPU generator looks at the lowest 32 bits of its seed only, hence a hash.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def generator(seed: int, *names: object) -> torch.Generator:
    """A generator of that stream, on the CPU: every GPU would give other numbers."""
    return torch.Generator().manual_seed(derived(seed, *names))
