"""Which members of a chain are used, and what that makes of a trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.defences import subsets
from search.tuning.driver import Direction, Judged
from search.tuning.space import Setting, Space, use

OBJECTIVES: dict[str, dict[str, Direction]] = {
    # Def decides; a sixteenth of an image for each member left out breaks ties.
    "single": {"adversarial images right, percent, fewer members first": "maximize"},
    "multi": {
        "adversarial images right, percent": "maximize",
        "benign images right, percent": "maximize",
        "members": "minimize",
    },
}
COUNTED: dict[str, dict[str, Direction]] = {  # of studies that were begun with counts
    kind: {name.replace(", percent", ""): way for name, way in directions.items()}
    for kind, directions in OBJECTIVES.items()
}


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Chains, and the best of their members: what is tuned and by which rules."""

    study: str
    space: Space
    members: tuple[str, ...]  # bit i of a subset is member i
    starts: tuple[Setting, ...]  # the first trials
    undefended: int  # benign images that the undefended network gets right
    max_decline_points: float
    objectives: str  # of OBJECTIVES
    question: dict[str, Any]  # all that decides the answers, for people
    seed: int
    counted: bool = False  # images, not percent: a study goes on as it was begun

    @property
    def directions(self) -> Mapping[str, Direction]:
        """Of the objectives."""
        return (COUNTED if self.counted else OBJECTIVES)[self.objectives]

    def asked(self) -> dict[str, Any]:
        """The question in full."""
        rules = {
            "membership": "optuna" if self.space.members else "enumerate",
            "members": list(self.members),
            "objectives": self.directions,
            "max_decline_points": self.max_decline_points,
            "undefended": self.undefended,
            "starts": [dict(start) for start in self.starts],
            "seed": self.seed,
        }
        return self.space.said() | rules | self.question

    @property
    def limit(self) -> dict[str, Any]:
        """What decides which subsets are feasible, as `subsets` takes it."""
        return {"undefended": self.undefended, "max_decline_points": self.max_decline_points}

    def judged(self, params: Mapping[str, Any], answer: subsets.Scores) -> Judged:
        """By the subset of the parameters, or the best of all."""
        subset = self._subset(params, answer)
        used = subsets.names(subset, self.members)
        defended = int(answer.n_adversarial_right[subset - 1])
        kept = int(answer.n_benign_right[subset - 1])
        searched = bool(self.space.members)
        return Judged(
            values=self._values(answer, defended, kept, len(used)),
            said=(
                f"{'+'.join(used)} {defended} of {answer.n_adversarial} defended, benign {kept} of "
                f"{answer.n_benign} (undefended {self.undefended})"
            ),
            facts={
                "members": ",".join(used),
                "def_percent": 100 * defended / answer.n_adversarial,
                "acc_dec_points": 100 * (self.undefended - kept) / answer.n_benign,
                "n_adversarial": answer.n_adversarial,
            },
            over=int(subsets.n_over(answer, **self.limit)[subset - 1]),
            picked={} if searched else {use(m): m in used for m in self.members},
        )

    def _subset(self, params: Mapping[str, Any], scores: subsets.Scores) -> int:
        if self.space.members:
            return sum(params[use(member)] << i for i, member in enumerate(self.members))
        subset = subsets.best(scores, **self.limit)
        if subset is None:  # none keeps the rule: the one that breaks it least
            subset = int(scores.n_benign_right.argmax()) + 1
        return subset

    def _values(
        self, answer: subsets.Scores, defended: int, kept: int, n_members: int
    ) -> list[float]:
        of_all = (1.0, 1.0)
        if not self.counted:
            of_all = (100 / answer.n_adversarial, 100 / answer.n_benign)
        if self.objectives == "multi":
            return [defended * of_all[0], kept * of_all[1], float(n_members)]
        return [(defended + (len(self.members) - n_members) / 16) * of_all[0]]


def counts(question: Mapping[str, Any] | None) -> bool:
    """Whether a study that asks this counts images."""
    return question is not None and question.get("objectives") in COUNTED.values()
