"""Seeds for independent streams of random numbers, derived from the one that the user gives."""

import hashlib
from collections.abc import Sequence

import torch

from core.errors import InputError


def derived(seed: int, *names: object) -> int:
    """A seed in 0 .. 2**32 - 1 for the stream that `names` tell apart.

    torch's CPU generator looks at the lowest 32 bits of its seed only, hence a hash.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def generator(seed: int, *names: object) -> torch.Generator:
    """A generator of that stream, on the CPU: every GPU would give other numbers."""
    return torch.Generator().manual_seed(derived(seed, *names))


def one_each(generators: Sequence[torch.Generator] | None, n: int) -> Sequence[torch.Generator]:
    """The generators, or new ones, as torch's global generator says, where there are none.

    InputError where they are not one for each of `n` images.
    """
    if torch.compiler.is_exporting():
        raise InputError(
            "torch.export cannot take along what draws at random.\n"
            "Hint: export the network behind it, and keep the random defence in front."
        )
    if generators is None:
        drawn = torch.randint(2**63 - 1, (n,)).tolist()
        return [torch.Generator().manual_seed(seed) for seed in drawn]
    if len(generators) != n:
        raise InputError(
            f"expected one generator per image, {n}, got {len(generators)}.\n"
            "Hint: core.seeds.generator(seed, image_id) makes one; without any, draws are new."
        )
    return generators
