"""Attacks: pixels and labels in, pixels out.

Each receives the function that the attacker may differentiate: gray, black and white box are
that one argument (the bare model, another model, the whole defence). `straight_through` makes a
defence without a gradient differentiable, `Expectation` a random one plain.
"""

from core.attacks.apgd import apgd, apgd_targeted
from core.attacks.auto import autoattack
from core.attacks.bpda import bpda, straight_through
from core.attacks.carlini_wagner import carlini_wagner
from core.attacks.deepfool import deepfool
from core.attacks.fab import fab
from core.attacks.gradient_sign import fgsm, ifgsm, pgd
from core.attacks.gradients import Expectation
from core.attacks.images import on_images, through
from core.attacks.norms import L2, LINF, Norm
from core.attacks.rounding import round_within
from core.attacks.spec import Attack, parse_attack
from core.attacks.square import square
from core.attacks.standard import standard
from core.attacks.transfer import difgsm, gaussian_kernel, kernel_side, tifgsm
from core.attacks.universal import universal_pass
from core.attacks.worst import parse_attacks
from core.known import ATTACKS as NAMES

__all__ = [
    "L2",
    "LINF",
    "NAMES",
    "Attack",
    "Expectation",
    "Norm",
    "apgd",
    "apgd_targeted",
    "autoattack",
    "bpda",
    "carlini_wagner",
    "deepfool",
    "difgsm",
    "fab",
    "fgsm",
    "gaussian_kernel",
    "ifgsm",
    "kernel_side",
    "on_images",
    "parse_attack",
    "parse_attacks",
    "pgd",
    "round_within",
    "square",
    "standard",
    "straight_through",
    "through",
    "tifgsm",
    "universal_pass",
]
