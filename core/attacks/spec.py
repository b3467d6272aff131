"""An attack with its budget as one value, and attacking 8-bit images with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from core import seeds
from core.attacks.gradient_sign import Differentiable, ifgsm, pgd
from core.codec import to_pixels
from core.errors import InputError
from core.shapes import Images8, Labels, Pixels

NAMES = ("fgsm", "ifgsm", "pgd")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Name and budget. InputError for an unknown name or a budget that it cannot have."""

    name: str  # one of NAMES
    eps_255: float  # largest change of a pixel, L-infinity, in 1/255
    step_255: float  # change of a pixel in one step, in 1/255
    n_steps: int
    n_restarts: int

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError(
                f"the attack must be one of {', '.join(NAMES)}, got {self.name!r}.\n"
                "Hint: --attack fgsm is the paper's search."
            )
        if not (0 <= self.eps_255 <= 255 and 0 <= self.step_255 <= 255):
            raise InputError(
                f"eps and step must lie in 0..255 (1/255 of a pixel), got eps {self.eps_255:g} "
                f"and step {self.step_255:g}.\nHint: 2 means 2/255."
            )
        if self.n_steps < 1 or self.n_restarts < 1:
            raise InputError(
                f"an attack needs at least 1 step and 1 restart, got {self.n_steps} and "
                f"{self.n_restarts}.\nHint: PGD is usually run with 10 to 50 steps."
            )
        if self.name == "fgsm" and (self.n_steps > 1 or self.step_255 != self.eps_255):
            raise InputError(
                f"fgsm takes one step of the whole budget, got {self.n_steps} steps of "
                f"{self.step_255:g} for a budget of {self.eps_255:g}.\n"
                "Hint: ifgsm and pgd take --attack-steps and --step-255."
            )
        if self.name != "pgd" and self.n_restarts > 1:
            raise InputError(
                f"{self.name} starts at the image itself, got {self.n_restarts} restarts.\n"
                "Hint: pgd takes --restarts."
            )

    @classmethod
    def with_defaults(
        cls,
        name: str,
        *,
        eps_255: float,
        step_255: float | None = None,
        n_steps: int | None = None,
        n_restarts: int | None = None,
    ) -> "Attack":
        """The usual settings where none are given.

        I-FGSM: steps of 1/255, min(eps + 4, 1.25 eps) of them (Kurakin et al. 2017, section 2.2).
        PGD: 10 steps of eps/4 (Madry et al. 2018 use 2.5 eps / steps), one restart.
        """
        usual_steps, usual_step = 1, eps_255
        if name == "ifgsm":
            usual_steps, usual_step = max(1, round(min(eps_255 + 4, 1.25 * eps_255))), 1.0
        if name == "pgd":
            usual_steps, usual_step = 10, eps_255 / 4
        return cls(
            name=name,
            eps_255=eps_255,
            step_255=usual_step if step_255 is None else step_255,
            n_steps=usual_steps if n_steps is None else n_steps,
            n_restarts=1 if n_restarts is None else n_restarts,
        )

    def __call__(
        self,
        logits_of: Differentiable,
        pixels: Pixels,
        labels: Labels,
        *,
        generators: Sequence[torch.Generator],
    ) -> Pixels:
        """Attack pixels: `pgd`, or `ifgsm` of which FGSM is the single full step."""
        if self.name != "pgd":
            return ifgsm(
                logits_of,
                pixels,
                labels,
                eps_255=self.eps_255,
                step_255=self.step_255,
                n_steps=self.n_steps,
            )
        return pgd(
            logits_of,
            pixels,
            labels,
            eps_255=self.eps_255,
            step_255=self.step_255,
            n_steps=self.n_steps,
            n_restarts=self.n_restarts,
            generators=generators,
        )


def on_images(
    attack: Attack,
    logits_of: Differentiable,
    images: Images8,
    labels: Labels,
    *,
    image_ids: Sequence[int],
    seed: int,
    batch_size: int = 128,
) -> Pixels:
    """Attack 8-bit images, batch by batch; pixels out, not yet rounded.

    An image's random starts follow from `seed` and its own id, so neither the batch size nor
    the other images change the result (beyond the network's own float rounding).
    """
    generators = [seeds.generator(seed, image) for image in image_ids]
    parts = []
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        pixels = to_pixels(images[part])
        parts.append(attack(logits_of, pixels, labels[part], generators=generators[part]))
    return torch.cat(parts)


def round_within(attacked: Pixels, images: Images8, *, eps_255: float) -> Images8:
    """The attacked pixels as 8-bit images, still within `eps_255` of the originals.

    A budget that is no whole number is used up to the whole level below it.
    """
    change = (attacked * 255).round() - images
    whole = change.clamp(-math.floor(eps_255), math.floor(eps_255))
    return (images + whole).clamp(0, 255).to(torch.uint8)
