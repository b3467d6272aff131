"""What the white box leaves of a tuned ensemble, for the page that tunes."""

from collections.abc import Sequence

from results.threats import white_text
from search import scores
from search.engine.study import NotStoredError
from search.inputs.chains import Member
from search.lab import Lab


def through_all(
    lab: Lab, attacks: Sequence[str], n: int, study: str, members: Sequence[Member]
) -> list[str]:
    """What white-box attacks on n held-out images leave of an ensemble, and of the bare network."""
    if not attacks:
        return []
    victims = {"none": lab.victim(), "tuned": lab.victim(members=members)}
    wanted = lab.attacks(attacks)
    threats = [t for name, victim in victims.items() for t in lab.white(name, victim, wanted)]
    try:
        attacked = lab.threatened(lab.benign(report=n), threats, block=50)
        white = scores.study("ensemble_white")
        return white_text(lab.score(white, victims, attacked, study, "white", block=50))
    except NotStoredError:
        return ["white box: not measured; the command without --figure does it"]
