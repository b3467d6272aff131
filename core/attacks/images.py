"""Attacking 8-bit images."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch

from core import seeds
from core.attacks.gradients import Differentiable, Expectation, Randomised
from core.attacks.spec import Attack
from core.codec import to_pixels
from core.codec.rounding import by_name
from core.parts import in_parts
from core.shapes import Images8, Labels, Logits, Pixels

Victim = Callable[..., Logits]  # pixels, generators, rounding=...: as `core.defences.Guarded`


def on_images(
    attack: Attack,
    logits_of: Differentiable | Randomised,
    images: Images8,
    labels: Labels,
    *,
    image_ids: Sequence[int],
    seed: int,
    batch_size: int = 128,
    n_samples: int = 0,
) -> Pixels:
    """Attack 8-bit images, batch by batch; pixels out, not yet rounded.

    With `n_samples` above 0 the function is a randomised one (pixels and a generator per image to
    logits), and every gradient the mean of so many draws. An image's draws follow from `seed` and
    its own id, so neither the batch size nor the other images change the result (beyond the
    network's own float rounding).
    """

    def attacked(part: slice) -> Pixels:
        ids = image_ids[part]
        function = cast("Differentiable", logits_of)
        if n_samples:
            draws = [seeds.generator(seed, image, "defence") for image in ids]
            function = Expectation(
                cast("Randomised", logits_of), draws, n_samples, fixed=attack.fixed_draws
            )
        generators = [seeds.generator(seed, image) for image in ids]
        return attack(function, to_pixels(images[part]), labels[part], generators=generators)

    return torch.cat(in_parts(attacked, len(images), batch_size))


def through(attack: Attack, victim: Victim) -> Differentiable | Randomised:
    """All of a victim as `on_images` takes it, its quantisers with the attack's own derivative.

    A dithered derivative draws, so that `n_samples` must be 1 or more.
    """
    if attack.through != "dithered":
        return partial(victim, rounding=by_name(attack.through))
    return lambda pixels, draws: victim(pixels, draws, rounding=by_name(attack.through, draws))
