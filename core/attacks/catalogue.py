"""Every attack by name: its norm, its usual settings with their source, and how it is run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.attacks.auto_families import AUTO
from core.attacks.bpda import bpda
from core.attacks.carlini_wagner import carlini_wagner
from core.attacks.deepfool import deepfool
from core.attacks.family import IN_L2, Call, Family, Setting, above_zero, at_least
from core.attacks.gradient_sign import ifgsm, kurakin_steps, pgd
from core.attacks.gradients import Differentiable
from core.attacks.norms import L2, UNBOUNDED_255
from core.attacks.transfer import difgsm, gaussian_kernel, tifgsm
from core.codec.rounding import DERIVATIVES, is_derivative
from core.known import ATTACKS
from core.shapes import Labels, Pixels

LEAST_LIKELY = "least-likely"


def _shared(call: Call) -> dict[str, Any]:
    return {
        "eps_255": call.eps_255,
        "step_255": call.step_255,
        "n_steps": call.n_steps,
        "targeted": call.targeted,
        "norm": call.norm,
    }


def _ifgsm(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    momentum = call.settings.get("momentum", 0.0)
    return ifgsm(logits_of, pixels, labels, momentum=momentum, **_shared(call))


def _pgd(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    return pgd(
        logits_of,
        pixels,
        labels,
        n_restarts=call.n_restarts,
        generators=call.generators,
        **_shared(call),
    )


def _tifgsm(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    side = call.settings["kernel"]
    return tifgsm(
        logits_of,
        pixels,
        labels,
        kernel=gaussian_kernel(side) if side else None,
        momentum=call.settings["momentum"],
        **_shared(call),
    )


def _difgsm(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    own = {name: call.settings[name] for name in ("probability", "smallest", "momentum")}
    return difgsm(logits_of, pixels, labels, generators=call.generators, **own, **_shared(call))


def _deepfool(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    return deepfool(
        logits_of,
        pixels,
        labels,
        n_steps=call.n_steps,
        overshoot=call.settings["overshoot"],
        n_candidates=call.settings["candidates"],
        eps_255=call.eps_255,
    )


def _cw(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    return carlini_wagner(
        logits_of,
        pixels,
        labels,
        n_steps=call.n_steps,
        n_searches=call.settings["searches"],
        rate=call.settings["rate"],
        confidence=call.settings["confidence"],
        first_c=call.settings["first_c"],
        eps_255=call.eps_255,
        targeted=call.targeted,
    )


def _bpda(logits_of: Differentiable, pixels: Pixels, labels: Labels, call: Call) -> Pixels:
    return bpda(
        logits_of,
        pixels,
        labels,
        eps_255=call.eps_255,
        rate=call.settings["rate"],
        n_steps=call.n_steps,
        norm=call.norm,
    )


def _ten(_: float) -> int:
    return 10


def _quarter(eps_255: float) -> float:
    return eps_255 / 4


def _is_target(value: str) -> bool:
    return value in ("", LEAST_LIKELY) or (value.isdecimal() and len(value) < 10)


_TARGET = {"target": Setting("", f"a class number or {LEAST_LIKELY}", _is_target)}
_MOMENTUM = {"momentum": at_least(0, 0.0), **_TARGET}  # 1 in Dong et al. (2018)

_FGSM = Family(run=_ifgsm, step_255=lambda eps: eps, one_step=True, settings=_TARGET)
_IFGSM = Family(run=_ifgsm, step_255=lambda _: 1.0, n_steps=kurakin_steps, settings=_MOMENTUM)
# Madry et al. (2018) use steps of 2.5 eps / steps.
_PGD = Family(run=_pgd, step_255=_quarter, n_steps=_ten, random_start=True, settings=_TARGET)

_KNOWN: Mapping[str, Family] = {
    "fgsm": _FGSM,
    "ifgsm": _IFGSM,
    "pgd": _PGD,
    "fgsm-l2": replace(_FGSM, **IN_L2),
    "ifgsm-l2": replace(_IFGSM, step_255=_quarter, n_steps=_ten, **IN_L2),
    "pgd-l2": replace(_PGD, **IN_L2),
    # Ten steps of eps/10: Dong et al. (2019), section 4.1. `kernel` 0: scaled with the image.
    "tifgsm": Family(
        run=_tifgsm,
        step_255=lambda eps: eps / 10,
        n_steps=_ten,
        settings={
            "kernel": Setting(0, "an odd number, or 0", lambda n: n == 0 or (n > 0 and n % 2)),
            **_MOMENTUM,
        },
    ),
    # Xie et al. (2019), section 4.1; 0.9 is 299 of 330 pixels.
    "difgsm": Family(
        run=_difgsm,
        step_255=lambda eps: eps / 10,
        n_steps=_ten,
        settings={
            "probability": Setting(0.5, "in 0..1", lambda value: 0 <= value <= 1),
            "smallest": Setting(0.9, "above 0, at most 1", lambda share: 0 < share <= 1),
            **_MOMENTUM,
        },
    ),
    # Moosavi-Dezfooli et al. (2016), section 3.4: 0.02; steps and candidates are their code's.
    "deepfool": Family(
        run=_deepfool,
        norm=L2,
        eps_255=UNBOUNDED_255,
        n_steps=lambda _: 50,
        settings={"overshoot": at_least(0, 0.02), "candidates": at_least(2, 10)},
    ),
    # Carlini and Wagner's published code, with 1000 steps where it has 10,000.
    "cw": Family(
        run=_cw,
        norm=L2,
        eps_255=UNBOUNDED_255,
        n_steps=lambda _: 1000,
        settings={
            "confidence": at_least(0, 0.0),
            "searches": at_least(1, 9),
            "rate": above_zero(0.01),
            "first_c": above_zero(1e-3),
            **_TARGET,
        },
    ),
    # Athalye et al. (2018), published code; the defensive-table paper, section 4.
    "bpda": Family(
        run=_bpda, norm=L2, eps_255=None, n_steps=lambda _: 1000, settings={"rate": above_zero(0.1)}
    ),
    **AUTO,
}

_THROUGH = {
    "through": Setting("identity", f"one of {', '.join(DERIVATIVES)} (soft:w=0.25)", is_derivative)
}
_DRAWS = {"draws": Setting("new", "new or fixed", ("new", "fixed").__contains__)}
FAMILIES: Mapping[str, Family] = {
    name: replace(own, settings=own.settings | _DRAWS | (_THROUGH if own.gradient else {}))
    for name, own in _KNOWN.items()
}
assert tuple(FAMILIES) == ATTACKS
