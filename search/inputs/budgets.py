"""Whether an attack's budget can do anything to images of 8 bits."""

from core.attacks import LINF, Attack
from core.errors import InputError
from search.progress import say


def check_whole(attack: Attack) -> Attack:
    """The attack; InputError for less than a level, a note where part of the budget is lost."""
    check_some(attack)
    if attack.eps_255 < 1:
        levels = round(255 * attack.eps_255)
        likely = f"; {levels}/255 is --eps-255 {levels}" if levels else ""
        raise InputError(
            f"examples rounded to 8 bits need a budget of at least 1/255, got {attack.eps_255:g}"
            f".\nHint: eps is in 1/255: 8 means 8/255{likely}. The table search has --float, which "
            "keeps examples unrounded."
        )
    if attack.reach_255 < 0.5:
        raise InputError(
            f"{attack.n_steps} steps of {attack.step_255:g}/255 change no pixel by half a level, "
            "and examples are rounded to 8 bits.\n"
            "Hint: more steps, or larger ones; steps are in 1/255 too."
        )
    if attack.norm is LINF and attack.eps_255 % 1:
        say(f"note: rounded to 8 bits, a budget of {attack.eps_255:g} uses {int(attack.eps_255)}")
    return attack


def check_some(attack: Attack) -> Attack:
    """The attack; InputError where its budget is nothing."""
    if not attack.eps_255:
        raise InputError(
            f"an attack needs a budget above 0, got {attack.name} with {attack.eps_255:g}.\n"
            "Hint: every study has the images as they are beside the attacked ones."
        )
    return attack
