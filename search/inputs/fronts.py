"""Defences by name: those that were learned are files of the store's bank, found among its rows."""

from collections.abc import Callable

import results
from core.defences import Nothing, defence_by_name
from core.errors import InputError
from core.learned import names
from core.models import denoiser
from results.files import Root
from search.engine.bank import Bank
from search.inputs import codecs, denoisers
from search.inputs.loading import Inputs
from search.inputs.networks import shared_sweep


def front(name: str, inputs: Callable[[], Inputs], root: Root, *, weights: bool) -> str:
    """A defence as cells name it: what was learned by its piece, all others as they are.

    InputError for no defence, or for one that the store does not hold for these data; where
    `weights` are needed, for one whose piece is lost. `inputs` are asked for only where something
    was learned: a wrong name is said before a checkpoint is opened.
    """
    found = name
    if names.kind_of(name) and not names.piece_of(name):
        found = codecs.stored(name, _stored(codecs.STUDY, codecs.SWEEP, inputs(), root))
    elif denoiser.is_denoiser(name) and not denoiser.piece_of(name):
        found = denoisers.stored(name, _stored(denoisers.STUDY, denoisers.SWEEP, inputs(), root))
    else:
        defence_by_name(name, lambda _: Nothing())
    _, piece = denoiser.piece_of(found) or ("", names.piece_of(found))
    if piece and weights and not Bank(root).has(piece):
        raise InputError(
            f"the store's bank does not hold the weights of {name}, {piece}.\n"
            "Hint: names such as bls:lambda=0.012 or denoiser:skips=both find those that are "
            "there; jobs/rate_distortion.py or jobs/denoise.py, run as before, makes lost ones."
        )
    return found


def _stored(study: str, word: str, inputs: Inputs, root: Root) -> results.Rows | None:
    sweep = shared_sweep(inputs, word)
    if f"sweep={sweep}" not in root.folders(f"rows/study={study}"):
        return None
    return results.load(study, sweep=sweep, store=root)
