"""Mixtures of training images: for one as it is so many after JPEG, noise, another codec."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from core.errors import InputError
from search.tuning.driver import Direction, Judged
from search.tuning.space import Axis, Setting, Space

KINDS = JPEG, NOISE, CODEC = "jpeg_parts", "noise_parts", "codec_parts"


@dataclass(frozen=True)
class Right:
    """Right answers of a mixture's network."""

    corrupted: int
    n_corrupted: int
    clean: int
    n_clean: int


@dataclass(frozen=True, kw_only=True)
class Mixtures:
    """What is mixed: axes of quality, of noise in percent of the range, other codecs by name.

    InputError for a codec that is named twice, or is among the others.
    """

    parts: tuple[int, ...]
    quality: tuple[int, ...]
    noise_percent: tuple[int, ...]
    codecs: tuple[str, ...]

    def __post_init__(self) -> None:
        others = ["none", *map(_jpeg, self.quality), *map(_noise, self.noise_percent)]
        for name in self.codecs:
            if [*others, *self.codecs].count(name) > 1:
                raise InputError(
                    f"expected codecs beside JPEG and noise, each once, got {name}.\n"
                    "Hint: --codecs bls:lambda=0.005 k3-of16-af116."
                )

    @property
    def space(self) -> Space:
        """Parts of each kind, and its setting; a codec is one by its place."""
        axes = [Axis(JPEG, self.parts), Axis("quality", self.quality)]
        axes += [Axis(NOISE, self.parts), Axis("noise_percent", self.noise_percent)]
        if self.codecs:
            axes += [Axis(CODEC, self.parts), Axis("codec", tuple(range(len(self.codecs))))]
        return Space(tuple(axes))

    def set_of(self, setting: Setting) -> str:
        """The training set of a setting, as `core.transforms` reads it."""
        kinds = {JPEG: _jpeg(setting["quality"]), NOISE: _noise(setting["noise_percent"])}
        if self.codecs:
            kinds[CODEC] = self.codecs[setting["codec"]]
        mixed = [f"{setting[parts]}*{name}" for parts, name in kinds.items() if setting[parts]]
        return "+".join(["1*none", *mixed]) if mixed else "none"

    @property
    def starts(self) -> tuple[Setting, ...]:
        """Images as they are, most of each kind alone and most of all; settings in the middle."""
        space = self.space
        middle = {axis.name: axis.values[len(axis.values) // 2] for axis in space.axes}
        kinds = [axis.name for axis in space.axes if axis.name in KINDS]
        found: list[Setting] = []
        for most in ([], *([kind] for kind in kinds), kinds):
            own = {kind: self.parts[-1 if kind in most else 0] for kind in kinds}
            if middle | own not in found:
                found.append(middle | own)
        return tuple(found)

    def told(self, trials: Iterable[FrozenTrial]) -> list[dict[str, Any]]:
        """A line for each that has its answer; `plain`: percent of images as they are."""
        return [
            {
                "number": trial.number,
                "training": self.set_of(trial.params),
                "corrupted": trial.values[0],
                "clean": trial.user_attrs["clean_percent"],
                "plain": 100 / (1 + sum(trial.params.get(kind, 0) for kind in KINDS)),
                **trial.params,
            }
            for trial in trials
            if trial.state == TrialState.COMPLETE
        ]


def _jpeg(quality: int) -> str:
    return f"jpeg{quality}"


def _noise(percent: int) -> str:
    return f"noise{percent / 100:g}"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The mixture whose network gets most corrupted images right, whatever clean ones cost."""

    study: str
    mixtures: Mixtures
    question: dict[str, Any]
    seed: int

    @property
    def space(self) -> Space:
        """That of the mixtures."""
        return self.mixtures.space

    @property
    def starts(self) -> Sequence[Setting]:
        """Those of the mixtures."""
        return self.mixtures.starts

    @property
    def directions(self) -> Mapping[str, Direction]:
        """One objective, the thesis' BDA."""
        return {"corrupted images right, percent": "maximize"}

    def asked(self) -> dict[str, Any]:
        """The question in full."""
        own = {"codecs": list(self.mixtures.codecs), "starts": list(self.starts), "seed": self.seed}
        return self.space.said() | own | self.question

    def judged(self, params: Mapping[str, Any], answer: Right) -> Judged:
        """By the share of corrupted images."""
        corrupted = 100 * answer.corrupted / answer.n_corrupted
        clean = 100 * answer.clean / answer.n_clean
        return Judged(
            values=[corrupted],
            said=f"{corrupted:.1f} % of corrupted images right, {clean:.1f} % of clean ones",
            facts={"training": self.mixtures.set_of(params), "clean_percent": clean},
        )
