"""How a network is trained, as one text: "fast:eps=2", "free:eps=4" (eps in 1/255)."""

from dataclasses import dataclass

import torch
from torch import nn

from core import spec
from core.data import Data
from core.errors import InputError
from core.training.adversarial import METHODS, adversarial_training
from core.training.epochs import Training


@dataclass(frozen=True)
class Recipe:
    """A way to train. InputError for another name or other settings than `eps`."""

    text: str

    def __post_init__(self) -> None:
        name, settings = spec.read(self.text)
        try:
            valid = name in METHODS and set(settings) == {"eps"} and float(settings["eps"]) >= 0
        except ValueError:
            valid = False
        if not valid:
            raise InputError(
                f"expected a recipe as {' or '.join(f'{m}:eps=EPS' for m in METHODS)}, got "
                f"{self.text!r}.\nHint: eps in 1/255, as in fast:eps=2."
            )

    def begin(
        self,
        model: nn.Module,
        data: Data,
        *,
        epochs: int,
        learning_rate: float,
        batch_size: int,
        seed: int,
        device: str | torch.device = "cpu",
    ) -> Training:
        """Training of a network in place, at its beginning."""
        name, settings = spec.read(self.text)
        return adversarial_training(
            model,
            data,
            method=name,
            eps_255=float(settings["eps"]),
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            seed=seed,
            device=device,
        )
