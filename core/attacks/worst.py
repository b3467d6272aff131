"""The worst case: several attacks of one budget, each of which finds what others leave."""

import re
from collections.abc import Sequence

from core.attacks.spec import Attack, parse_attack
from core.errors import InputError

NAME = "worst"
N_STEPS = 40  # of each gradient attack

# Derivatives of the quantiser x losses, a targeted attack and one without gradients. What each of
# them breaks alone is in docs/decisions/0014-white-box.md.
PARTS = (
    "apgd",
    "apgd:through=cubic",
    "apgd:draws=fixed,through=cubic",  # the same as the last where nothing is drawn
    "apgd:loss=margin,through=cubic",
    "apgd:through=soft",
    "apgd-t:targets=3,through=cubic",
    "square:queries=200",
)


def parse_attacks(texts: Sequence[str], *, channels: int, side: int) -> list[Attack]:
    """Each text's attack, and for worst@EPS[xSTEPS] all of `PARTS`; each attack once.

    InputError as `parse_attack`, and for a worst case without a budget.
    """
    whole = []
    for text in texts:
        if re.split("[:@]", text)[0] != NAME:
            whole.append(text)
            continue
        match = re.fullmatch(
            rf"{NAME}@(\d{{1,9}}(?:\.\d{{1,9}})?)(x[1-9]\d{{0,8}})?", text, re.ASCII
        )
        if match is None:
            raise InputError(
                f"expected the worst case as {NAME}@EPS or {NAME}@EPSxSTEPS, got {text!r}.\n"
                f"Hint: {NAME}@8 is {len(PARTS)} attacks within 8/255, of {N_STEPS} steps each."
            )
        eps, times = match[1], match[2] or f"x{N_STEPS}"
        whole += [f"{p}@{eps}{'' if p.startswith('square') else times}" for p in PARTS]
    made = (parse_attack(text, channels=channels, side=side) for text in whole)
    return list(dict.fromkeys(made))
