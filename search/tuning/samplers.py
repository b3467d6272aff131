"""Which setting is tried next: seeded draws on a grid, and members that are looked up.

Draws depend on nothing but the seed and the trials that ended, so a study that is killed and
resumed draws what it would have drawn.
"""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import FrozenTrial, TrialState

from search.tuning.space import MEMBERSHIP, Setting, Space

ERROR = "error"  # the attribute that tells a trial that failed from one whose driver died

Make = Callable[[int], BaseSampler]  # from a seed

# A Gaussian process on n trials costs n^3: at 500 it takes seconds. It sees the best half of so
# many, which say where the optimum is, and the latest half, which say where it is not.
_HISTORY = 32


def gaussian_process(seed: int) -> BaseSampler:
    """Optuna's Gaussian process; random until four trials ended (those that are enqueued)."""
    return GPSampler(seed=seed, n_startup_trials=4, warn_independent_sampling=False)


def ended(trial: FrozenTrial) -> bool:
    """Whether the trial has its answer: complete, or failed by itself."""
    failed = trial.state == TrialState.FAIL and ERROR in trial.user_attrs
    return failed or trial.state == TrialState.COMPLETE


def taken(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that ended or run, in the order of their numbers."""
    trials = study.get_trials(deepcopy=False)
    return [t for t in trials if ended(t) or t.state == TrialState.RUNNING]


class Sampler(BaseSampler):
    """Draws from a fresh sampler for each trial, and swaps a repeat for its untried neighbour.

    The seed of a draw comes from how many trials ended or run: an orphan's second attempt has
    the seed of the first, though its number is another.

    Members that are not searched are answered from `picks`, what enumeration found for a trial.
    The eight booleans are so Optuna's parameters like any other, and no trial is spent on them.
    """

    def __init__(self, make: Make, seed: int, space: Space) -> None:
        """`make` makes the sampler that draws."""
        self._make, self._seed, self._space = make, seed, space
        self.picks: dict[int, Mapping[str, bool]] = {}  # by trial number

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space: a repeat is one in all parameters at once."""
        del study, trial
        return self._space.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A setting that no ended or running trial has, while there is one."""
        others = [t for t in taken(study) if t.number != trial.number]
        known = [t for t in others if self._fits(t)]
        wanted = self._draw(study, known)
        tried: list[Setting] = [t.params for t in known]
        chosen = self._space.nearest_untried(wanted, tried) or wanted
        return {n: bool(v) if search_space[n] == MEMBERSHIP else v for n, v in chosen.items()}

    def _fits(self, trial: FrozenTrial) -> bool:
        """Whether the trial has a whole setting of the space: one added by hand need not."""
        names = self._space.distributions.keys()
        own = {name: trial.params[name] for name in names & trial.params.keys()}
        return len(own) == len(names) and not self._space.misfit(own)

    def _draw(self, study: optuna.Study, known: list[FrozenTrial]) -> dict[str, Any]:
        """A draw that knows the trials it should and no others, in memory."""
        digest = hashlib.sha256(repr((self._seed, len(known))).encode()).digest()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._make(int.from_bytes(digest[:4], "little"))
            view = optuna.create_study(directions=study.directions, sampler=sampler)
            view.add_trials(_telling(known, self._space))
            params: dict[str, Any] = view.ask(self._space.distributions).params
            return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, dist: BaseDistribution
    ) -> bool:
        """The member's place in the best subset; all else is in the space."""
        del study, dist
        return self.picks[trial.number][name]


def _telling(known: list[FrozenTrial], space: Space) -> list[FrozenTrial]:
    """The trials that a draw learns from, in their order, reduced to what is drawn."""
    done = [t for t in known if t.state == TrialState.COMPLETE]
    if len(done) > _HISTORY:
        latest, earlier = done[-_HISTORY // 2 :], done[: -_HISTORY // 2]
        best = sorted(earlier, key=_rank, reverse=True)[: _HISTORY // 2]
        done = sorted([*best, *latest], key=lambda trial: trial.number)
    # A rule that all keep says nothing, and modelling it costs as much as the objective does.
    broken = any(over > 0 for t in done for over in t.constraints.values())
    return [
        optuna.trial.create_trial(
            state=t.state,
            values=t.values,
            params={name: t.params[name] for name in space.distributions},
            distributions=space.distributions,
            constraints=t.constraints if broken else None,
        )
        for t in [*done, *(t for t in known if t.state == TrialState.RUNNING)]
    ]


def _rank(trial: FrozenTrial) -> tuple[bool, float, int]:
    """Feasible ones first, then by what the first objective says, then the earlier."""
    feasible = all(over <= 0 for over in trial.constraints.values())
    return (feasible, trial.values[0], -trial.number)
