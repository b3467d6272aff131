"""The language of attacks, and an attack with its budget and settings as one value.

    fgsm@2   pgd@8x50x5   cw:confidence=5,searches=6@1000   fgsm:target=3@5   bpda

NAME[:KEY=VALUE,...][@EPS[xSTEPS[xRESTARTS]]]: EPS in 1/255. `core.attacks.catalogue` lists them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from core.attacks.catalogue import FAMILIES, LEAST_LIKELY
from core.attacks.family import Call, Family
from core.attacks.gradients import Differentiable
from core.attacks.norms import LINF, UNBOUNDED_255, Norm
from core.errors import InputError
from core.known import ATTACKS
from core.seeds import one_each
from core.shapes import Labels, Pixels
from core.spec import read

MOST = 1_000_000  # steps, restarts
BPDA_RMS = 0.05  # of a pixel in [0, 1]: the budget of Athalye et al. (2018), section 5.2.3


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Name and budget. InputError for an unknown name or what the attack cannot have.

    The name is one of NAMES, then after a colon the settings that differ from the usual ones:
    "cw:confidence=5,searches=6", "fgsm:target=3". `core.attacks.catalogue` lists them.
    """

    name: str
    eps_255: float  # largest change in 1/255, of a pixel (L-infinity) or of an image (L2)
    step_255: float  # change in one step, in the same unit; 0 where the attack has no such steps
    n_steps: int
    n_restarts: int

    def __post_init__(self) -> None:
        head, settings = parse(self.name)
        if self.name != spelled(head, settings):
            raise InputError(
                f"expected the attack spelled {spelled(head, settings)!r}, got {self.name!r}.\n"
                "Hint: Attack.with_defaults spells it so."
            )
        _check_budget(FAMILIES[head], self.eps_255, self.step_255)
        if not (1 <= self.n_steps <= MOST and 1 <= self.n_restarts <= MOST):
            raise InputError(
                f"an attack needs at least 1 step and 1 restart, at most {MOST} of each, got "
                f"{self.n_steps} and {self.n_restarts}.\n"
                "Hint: PGD is usually run with 10 to 50 steps."
            )
        _check_steps(head, self)

    @classmethod
    def with_defaults(
        cls,
        name: str,
        *,
        eps_255: float | None = None,
        step_255: float | None = None,
        n_steps: int | None = None,
        n_restarts: int | None = None,
    ) -> "Attack":
        """The usual settings where none are given; `core.attacks.catalogue` says whose they are."""
        head, settings = parse(name)
        family = FAMILIES[head]
        eps = family.eps_255 if eps_255 is None else eps_255
        if eps is None:
            raise InputError(
                f"expected a budget for {head}, which has no usual one; got none.\n"
                "Hint: --eps-255 707 is a root mean square of 0.05 over a 32x32 colour image, "
                "the measure of Athalye et al. (2018)."
            )
        _check_budget(family, eps, 0.0)
        usual_step = family.step_255(eps) if family.step_255 else 0.0
        return cls(
            name=spelled(head, settings),
            eps_255=eps,
            step_255=usual_step if step_255 is None else step_255,
            n_steps=family.n_steps(eps) if n_steps is None else n_steps,
            n_restarts=1 if n_restarts is None else n_restarts,
        )

    @property
    def norm(self) -> Norm:
        """How the budget is measured."""
        return FAMILIES[parse(self.name)[0]].norm

    @property
    def reach_255(self) -> float:
        """The most that its steps change a pixel (L-infinity), the budget where that is less.

        Also the budget where it starts at random, has no such steps, or is L2.
        """
        family = FAMILIES[parse(self.name)[0]]
        if family.step_255 is None or family.random_start or family.norm is not LINF:
            return self.eps_255
        return min(self.eps_255, self.n_steps * self.step_255)

    def check_target(self, n_classes: int) -> None:
        """InputError for a target that is none of so many classes."""
        target = str(parse(self.name)[1].get("target", ""))
        if target not in ("", LEAST_LIKELY) and int(target) >= n_classes:
            raise InputError(
                f"the target must be one of the classes 0..{n_classes - 1}, got {target}.\n"
                f"Hint: target={LEAST_LIKELY} fits every network."
            )

    def without(self, setting: str) -> "Attack":
        """The same attack with a setting's usual value."""
        head, settings = parse(self.name)
        kept = {key: value for key, value in settings.items() if key != setting}
        return replace(self, name=spelled(head, kept))

    @property
    def through(self) -> str:
        """The quantiser's derivative where it goes through a codec (`core.codec.rounding`)."""
        return str(parse(self.name)[1].get("through", "identity"))

    @property
    def fixed_draws(self) -> bool:
        """Whether a randomised function meets the attack with the same draws at every step."""
        return parse(self.name)[1].get("draws") == "fixed"

    @property
    def budget(self) -> str:
        """The budget in words."""
        if self.norm is LINF:
            return f"eps {self.eps_255:g}/255"
        return "unbounded" if self.eps_255 >= UNBOUNDED_255 else f"L2 eps {self.eps_255:g}/255"

    def __call__(
        self,
        logits_of: Differentiable,
        pixels: Pixels,
        labels: Labels,
        *,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Pixels:
        """Attack pixels through what the attacker may differentiate.

        One CPU generator per image; without any, draws are new in every call.
        With a target, an image that carries the target's label stays as it is.
        """
        head, settings = parse(self.name)
        target = settings.get("target", "")
        call = Call(
            eps_255=self.eps_255,
            step_255=self.step_255,
            n_steps=self.n_steps,
            n_restarts=self.n_restarts,
            norm=self.norm,
            targeted=bool(target),
            generators=one_each(generators, len(pixels)),
            settings=settings,
        )
        run = FAMILIES[head].run
        if not target:
            return run(logits_of, pixels, labels, call)
        with torch.no_grad():
            logits = logits_of(pixels)
        self.check_target(logits.shape[1])
        least = target == LEAST_LIKELY
        wanted = logits.argmin(1) if least else torch.full_like(labels, int(target))
        attacked = run(logits_of, pixels, wanted, call)
        return torch.where((wanted == labels)[:, None, None, None], pixels, attacked)


def _check_budget(family: Family, eps_255: float, step_255: float) -> None:
    most = 255 if family.norm is LINF else UNBOUNDED_255
    if not (0 <= eps_255 <= most and 0 <= step_255 <= most):
        of = "a pixel" if family.norm is LINF else "the L2 length of a change"
        raise InputError(
            f"eps and step must lie in 0..{most:g} (1/255 of {of}), got eps {eps_255:g} and step "
            f"{step_255:g}.\nHint: 2 means 2/255."
        )


def _check_steps(head: str, attack: Attack) -> None:
    family = FAMILIES[head]
    if family.one_step and (attack.n_steps > 1 or attack.step_255 != attack.eps_255):
        raise InputError(
            f"{head} takes one step of the whole budget, got {attack.n_steps} steps of "
            f"{attack.step_255:g} for a budget of {attack.eps_255:g}.\n"
            "Hint: ifgsm and pgd take --attack-steps and --step-255."
        )
    if family.step_255 is None and attack.step_255:
        raise InputError(
            f"{head} chooses the size of its steps itself, got {attack.step_255:g}.\n"
            "Hint: leave --step-255 out; cw and bpda have a rate, as in cw:rate=0.005."
        )
    if family.step_255 is not None and attack.eps_255 and not attack.step_255:
        raise InputError(
            f"{head} moves by steps, got steps of 0 for a budget of {attack.eps_255:g}.\n"
            "Hint: leave --step-255 out for the usual one."
        )
    if not family.counts_steps and attack.n_steps > 1:
        raise InputError(
            f"{head} chooses the number of its steps itself, got {attack.n_steps}.\n"
            "Hint: leave --attack-steps out; square has queries, as in square:queries=500."
        )
    if not family.random_start and attack.n_restarts > 1:
        raise InputError(
            f"{head} starts at the image itself, got {attack.n_restarts} restarts.\n"
            "Hint: pgd takes --restarts."
        )


def parse_attack(
    text: str,
    *,
    channels: int | None = None,
    side: int | None = None,
    eps_255: float | None = None,
    step_255: float | None = None,
    n_steps: int | None = None,
    n_restarts: int | None = None,
) -> Attack:
    """Read NAME[:SETTINGS][@EPS[xSTEPS[xRESTARTS]]], such as fgsm@2, pgd@8x50x5, cw:confidence=5.

    What the text leaves out is as given beside it, else as usual. BPDA alone has the budget of its
    authors, scaled to the image; without the image's channels and side it must be given one.

    Raises:
        InputError: another form, an unknown attack, or settings that it cannot have.
    """
    number, whole = r"(\d{1,9}(?:\.\d{1,9})?)", r"(?:x(\d{1,9}))?"
    match = re.fullmatch(rf"([^@]+)(?:@{number}{whole}{whole})?", text, re.ASCII)
    if match is None:
        raise InputError(
            "expected an attack as NAME, NAME@EPS, NAME@EPSxSTEPS or NAME@EPSxSTEPSxRESTARTS, "
            f"got {text[:80]!r}.\nHint: as in fgsm@2 pgd@8x50x5 cw."
        )
    name, eps, steps, restarts = match.groups()
    beside = {
        "budget": (eps, eps_255),
        "steps": (steps, n_steps),
        "restarts": (restarts, n_restarts),
    }
    if twice := [what for what, both in beside.items() if None not in both]:
        raise InputError(
            f"the {twice[0]} of {text!r} are given twice, as {beside[twice[0]][0]} and "
            f"{beside[twice[0]][1]:g}.\nHint: in the attack's text, or by a flag."
        )
    eps_255 = eps_255 if eps is None else float(eps)
    if eps_255 is None and name.partition(":")[0] == "bpda" and channels and side:
        eps_255 = float(round(255 * BPDA_RMS * math.sqrt(channels * side**2)))
    return Attack.with_defaults(
        name,
        eps_255=eps_255,
        step_255=step_255,
        n_steps=n_steps if steps is None else int(steps),
        n_restarts=n_restarts if restarts is None else int(restarts),
    )


def parse(name: str) -> tuple[str, Mapping[str, Any]]:
    """The attack's bare name and all its settings; InputError for what it does not have."""
    head, given = read(name)
    if head not in FAMILIES:
        raise InputError(
            f"the attack must be one of {', '.join(ATTACKS)}, got {name!r}.\n"
            "Hint: --attack fgsm is the paper's search."
        )
    known = FAMILIES[head].settings
    values: dict[str, Any] = {key: setting.default for key, setting in known.items()}
    for key, value in given.items():
        if key not in known:
            raise InputError(
                f"{head} has the settings {', '.join(known) or '(none)'}, got {key!r}.\n"
                "Hint: as in cw:confidence=5,searches=6."
            )
        values[key] = _value(head, key, value)
    return head, values


def _value(head: str, key: str, text: str) -> Any:
    setting = FAMILIES[head].settings[key]
    try:
        value = type(setting.default)(text)
        # Python's own reader takes digits of other scripts, and 1_0.
        valid = text.isascii() and "_" not in text and setting.valid(value)
    except ValueError:
        valid = False
    if not valid:
        raise InputError(
            f"expected {key} {setting.wanted}, got {text!r}.\n"
            f"Hint: {head} alone takes {key} {setting.default or 'none'}."
        )
    return value


def spelled(head: str, settings: Mapping[str, Any]) -> str:
    """The one way to write an attack: settings that differ from the usual, in order of name."""
    usual = FAMILIES[head].settings
    given = sorted((k, v) for k, v in settings.items() if v != usual[k].default)
    pairs = ",".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in given)
    return f"{head}:{pairs}" if pairs else head
