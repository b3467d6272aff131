"""How a network is trained, as one text: "fast:eps=2", "free:eps=4,from=PIECE" (eps in 1/255)."""

from dataclasses import dataclass

from core import spec
from core.errors import InputError
from core.training.adversarial import METHODS


@dataclass(frozen=True)
class Recipe:
    """A way to train. InputError for another name or other settings than `eps` and `from`."""

    text: str

    def __post_init__(self) -> None:
        name, settings = spec.read(self.text)
        try:
            known = name in METHODS and {"eps"} <= set(settings) <= {"eps", "from"}
            valid = known and float(settings["eps"]) >= 0 and settings.get("from") != ""
        except ValueError:
            valid = False
        if not valid:
            raise InputError(
                f"expected a recipe as {' or '.join(f'{m}:eps=EPS' for m in METHODS)}, got "
                f"{self.text!r}.\nHint: eps in 1/255, as in fast:eps=2."
            )

    @property
    def method(self) -> str:
        """As `adversarial_training` takes it."""
        return spec.read(self.text)[0]

    @property
    def eps_255(self) -> float:
        """The most that it changes a pixel while training, in 1/255."""
        return float(spec.read(self.text)[1]["eps"])

    @property
    def start(self) -> str | None:
        """The bank's piece of the network that it begins with; None for random weights."""
        return spec.read(self.text)[1].get("from")
