"""Attacks: pixels and labels in, pixels out.

Each receives the function that the attacker may differentiate: gray, black and white box are
that one argument (the bare model, another model, the whole defence).
"""

from core.attacks.gradient_sign import fgsm, ifgsm, pgd
from core.attacks.spec import NAMES, Attack, on_images, round_within

__all__ = ["NAMES", "Attack", "fgsm", "ifgsm", "on_images", "pgd", "round_within"]
