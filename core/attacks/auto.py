"""AutoAttack, where its package is installed."""

from collections.abc import Sequence
from importlib import import_module

import torch

from core.attacks.gradients import Differentiable, of_any_batch
from core.attacks.norms import LINF, Norm
from core.errors import InputError
from core.seeds import one_each
from core.shapes import Labels, Pixels


def autoattack(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    version: str = "standard",
    generators: Sequence[torch.Generator] | None = None,
    norm: Norm = LINF,
) -> Pixels:
    """The ensemble of Croce and Hein (2020) by its authors' own code; `version` as they name it.

    Its random draws are for a whole batch and follow from the first image's generator, and so do
    those of a randomised function, which the package asks about subsets of a batch in any order. So
    alone among the attacks here an image's result depends on the batch that it is in.

    Raises:
        InputError: where the package `autoattack` cannot be imported.
    """
    own = one_each(generators, len(pixels))
    try:
        package = import_module("autoattack")
    except ImportError as error:
        raise InputError(
            "this attack needs the package autoattack, which is not installed.\n"
            "Hint: it is on no package index: "
            "pip install git+https://github.com/fra31/auto-attack"
        ) from error
    seed = int(torch.randint(2**31, (1,), generator=own[0]))
    with torch.random.fork_rng(devices=[pixels.device] if pixels.is_cuda else []):
        theirs = package.AutoAttack(
            of_any_batch(logits_of, own[0]),
            norm={"linf": "Linf", "l2": "L2"}[norm.name],
            eps=eps_255 / 255,
            version=version,
            seed=seed,
            device=pixels.device,
            verbose=False,
        )
        attacked = theirs.run_standard_evaluation(pixels, labels, bs=len(pixels))
    return norm.project(attacked, pixels, eps_255 / 255)
