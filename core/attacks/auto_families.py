"""The entries of AutoAttack and its parts in the catalogue."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.attacks.apgd import apgd, apgd_targeted
from core.attacks.auto import autoattack
from core.attacks.fab import fab
from core.attacks.family import IN_L2, Call, Family, Setting, at_least
from core.attacks.gradients import Differentiable
from core.attacks.losses import cross_entropy, dlr, margin
from core.attacks.square import square
from core.attacks.standard import N_TARGETS, SHARE, standard
from core.shapes import Labels, Pixels

LOSSES = {"ce": cross_entropy, "dlr": dlr, "margin": margin}


def _shared(call: Call) -> dict[str, Any]:
    return {
        "eps_255": call.eps_255,
        "n_restarts": call.n_restarts,
        "generators": call.generators,
        "norm": call.norm,
    }


def _apgd(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    loss = LOSSES[call.settings["loss"]]
    return apgd(logits_of, pixels, labels, n_steps=call.n_steps, loss=loss, **_shared(call))


def _apgd_targeted(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    own = {"n_steps": call.n_steps, "n_targets": call.settings["targets"]}
    return apgd_targeted(logits_of, pixels, labels, **own, **_shared(call))


def _fab(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    own = {"n_steps": call.n_steps, "n_targets": call.settings["targets"]}
    return fab(logits_of, pixels, labels, **own, **_shared(call))


def _square(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    own = {"n_queries": call.settings["queries"], "share": call.settings["share"]}
    return square(logits_of, pixels, labels, **own, **_shared(call))


def _standard(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    own = {"n_steps": call.n_steps, "n_queries": call.settings["queries"]}
    return standard(logits_of, pixels, labels, **own, **_shared(call))


def _autoattack(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    return autoattack(
        logits_of,
        pixels,
        labels,
        eps_255=call.eps_255,
        version=call.settings["version"],
        generators=call.generators,
        norm=call.norm,
    )


def _hundred(_: float) -> int:
    return 100


_VERSION = {
    "version": Setting(
        "standard", "standard, plus or rand", ("standard", "plus", "rand").__contains__
    )
}
_TARGETS = {"targets": at_least(1, N_TARGETS)}
_QUERIES = {"queries": at_least(1, 5000)}
_LOSS = {"loss": Setting("ce", f"one of {', '.join(LOSSES)}", LOSSES.__contains__)}
_SHARE = {"share": Setting(SHARE, "above 0, at most 1", lambda share: 0 < share <= 1)}

_APGD = Family(run=_apgd, n_steps=_hundred, random_start=True, settings=_LOSS)
_APGD_T = Family(run=_apgd_targeted, n_steps=_hundred, random_start=True, settings=_TARGETS)
_FAB = Family(run=_fab, n_steps=_hundred, random_start=True, settings=_TARGETS)
_SQUARE = Family(
    run=_square,
    gradient=False,
    counts_steps=False,
    random_start=True,
    settings={**_QUERIES, **_SHARE},
)
_STANDARD = Family(run=_standard, n_steps=_hundred, random_start=True, settings=_QUERIES)
_THEIRS = Family(run=_autoattack, counts_steps=False, settings=_VERSION)

# Croce and Hein (2020), section 6, and the authors' code: 100 steps, 9 targets, 5,000 queries, and
# Square's first share 0.8 (Andriushchenko et al. 2020 have 0.05 in L-infinity, 0.1 in L2).
AUTO: Mapping[str, Family] = {
    "apgd": _APGD,
    "apgd-l2": replace(_APGD, **IN_L2),
    "apgd-t": _APGD_T,
    "apgd-t-l2": replace(_APGD_T, **IN_L2),
    "fab": _FAB,
    "fab-l2": replace(_FAB, **IN_L2),
    "square": _SQUARE,
    "square-l2": replace(_SQUARE, **IN_L2),
    "aa": _STANDARD,
    "aa-l2": replace(_STANDARD, **IN_L2),
    "autoattack": _THEIRS,
    "autoattack-l2": replace(_THEIRS, **IN_L2),
}
