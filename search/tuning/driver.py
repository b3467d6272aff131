"""Tuning: one driver asks Optuna, has the answers computed, and tells it.

Workers never touch the study. The driver asks for a batch of trials, has all of them evaluated,
and tells them in the order in which it asked. Killed at any moment it leaves trials that say
they run; whoever holds the lease next fails each and asks for it once more.
"""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from core.errors import InputError
from search.engine.study import CellsFailed
from search.progress import say
from search.tuning import storage
from search.tuning.samplers import ERROR, Make, Sampler, ended, gaussian_process, taken
from search.tuning.space import MEMBERSHIP, Setting, Space

optuna.logging.set_verbosity(optuna.logging.WARNING)

Direction = Literal["minimize", "maximize"]
RULE_BROKEN = "benign images lost beyond the limit"  # the constraint: at most 0 is feasible
_RETRY_OF, _ATTEMPT = "retry_of", "attempt"
A = TypeVar("A")  # what answers a setting
A_contra = TypeVar("A_contra", contravariant=True)


@dataclass(frozen=True)
class Failed:
    """A setting that has no answer, and why. It is not tried again."""

    error: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What an answer is worth: what Optuna is told of it, and people."""

    values: Sequence[float]  # of each direction
    said: str
    facts: Mapping[str, str | float]  # the trial's attributes
    over: int | None = None  # of RULE_BROKEN; None where there is no rule
    picked: Mapping[str, bool] = field(default_factory=dict)  # parameters answered, not drawn


class Tuning(Protocol[A_contra]):
    """What is tuned and by which rules."""

    @property
    def study(self) -> str:
        """What it is called in the storage."""

    @property
    def space(self) -> Space:
        """What is drawn from."""

    @property
    def starts(self) -> Sequence[Setting]:
        """The first trials."""

    @property
    def seed(self) -> int:
        """Of all draws."""

    @property
    def directions(self) -> Mapping[str, Direction]:
        """Objectives by their names; the first is what importances are of."""

    def asked(self) -> dict[str, Any]:
        """The question in full: another one is another study."""

    def judged(self, params: Mapping[str, Any], answer: A_contra) -> Judged:
        """What an answer is worth to a trial of these parameters."""


@dataclass(frozen=True)
class Told:
    """What Optuna's study says, once its driver has let go of it."""

    importances: dict[str, float]
    failed: dict[int, str]
    storage: str


@dataclass
class Driver(Generic[A]):
    """The study's one driver, while it holds the lease."""

    opened: storage.Opened
    tuning: Tuning[A]
    evaluate: Callable[[Sequence[Setting]], Sequence[A | Failed]]
    make: Make = gaussian_process
    study: optuna.Study = field(init=False)

    def __post_init__(self) -> None:
        """Open or create the study; InputError where it asks something else."""
        directions = self.tuning.directions
        self._sampler = Sampler(self.make, self.tuning.seed, self.tuning.space)
        self.study = optuna.create_study(
            storage=self.opened.storage,
            study_name=self.tuning.study,
            directions=list(directions.values()),
            sampler=self._sampler,
            load_if_exists=True,
        )
        have = [direction.name.lower() for direction in self.study.directions]
        if have != list(directions.values()):
            raise InputError(
                f"the study {self.tuning.study!r} has the directions {', '.join(have)}, wanted are "
                f"{', '.join(directions.values())}.\n"
                "Hint: --objectives as before, or choose another --study."
            )
        if storage.remember(self.study, self.tuning.asked()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self.study.set_metric_names(list(directions))  # for optuna-dashboard

    def run(self, *, until: int | None = None, more: int | None = None, parallel: int = 1) -> None:
        """Go on until so many trials ended in all (`until`), or so many more (`more`)."""
        names = self.tuning.space.distributions
        reclaim(self.study, names)
        goal = until if until is not None else len(self.ended()) + (more or 0)
        while (left := self._left(goal)) > 0:
            batch = [trial for _ in range(min(parallel, left)) if (trial := self._ask())]
            if not batch:
                say(f"{self.tuning.study}: every setting of the search space was tried")
                return
            answers = self.evaluate([{n: int(t.params[n]) for n in names} for t in batch])
            for trial, answer in zip(batch, answers, strict=True):
                self._tell(trial, answer)

    def _left(self, goal: int) -> int:
        """How many trials to go, once those enqueued by hand that fit no setting have failed."""
        store, asked = self.opened.storage, self.tuning
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if reason := asked.space.misfit(trial.system_attrs.get("fixed_params", {})):
                self.opened.check_lease()
                say(f"{asked.study}: trial {trial.number} FAILED: {reason}")
                study_id = store.get_study_id_from_name(asked.study)
                own = store.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                store.set_trial_user_attr(own, ERROR, reason)
                store.set_trial_state_values(own, TrialState.FAIL)
        return goal - len(self.ended())

    def ended(self) -> list[FrozenTrial]:
        """Trials that have their answer, in the order of their numbers."""
        return [t for t in self.study.get_trials(deepcopy=False) if ended(t)]

    def failed(self) -> dict[int, str]:
        """Trials that failed by themselves, and why."""
        return {t.number: t.user_attrs[ERROR] for t in self.ended() if ERROR in t.user_attrs}

    def importances(self) -> dict[str, float]:
        """How much of the objective's variance each axis explains; empty where nothing varies."""
        complete = [t for t in self.ended() if t.state == TrialState.COMPLETE]
        axes = [axis.name for axis in self.tuning.space.axes]
        names = [name for name in axes if len({t.params[name] for t in complete}) > 1]
        if len(complete) < 4 or len({t.values[0] for t in complete}) < 2 or not names:
            return {}
        return optuna.importance.get_param_importances(
            self.study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=self.tuning.seed),
            params=names,
            target=lambda trial: trial.values[0],
        )

    def _ask(self) -> Trial | None:
        """The next trial: one that waits (a second attempt), a start, or a draw."""
        self.opened.check_lease()
        space, starts = self.tuning.space, self.tuning.starts
        known = [trial for trial in taken(self.study) if trial.params]  # not those refused
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            tried = {tuple(t.params.get(name) for name in space.distributions) for t in known}
            if len(known) < len(starts):
                self.study.enqueue_trial(dict(starts[len(known)]))
            elif len(tried) >= space.size:
                return None
        return self.study.ask(fixed_distributions=space.distributions)

    def _tell(self, trial: Trial, answer: A | Failed) -> None:
        self.opened.check_lease()
        if isinstance(answer, Failed):
            say(f"{self.tuning.study}: trial {trial.number} FAILED: {answer.error}")
            trial.set_user_attr(ERROR, answer.error)  # first: an orphan would be tried again
            self.study.tell(trial, state=TrialState.FAIL)
            return
        judged = self.tuning.judged(trial.params, answer)
        self._sampler.picks[trial.number] = judged.picked
        for name in judged.picked:
            trial.suggest_categorical(name, MEMBERSHIP.choices)
        if judged.over is not None:
            trial.set_constraint(RULE_BROKEN, judged.over)
        for name, value in judged.facts.items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, list(judged.values))
        setting = ", ".join(f"{a.name} {trial.params[a.name]}" for a in self.tuning.space.axes)
        say(f"{self.tuning.study}: trial {trial.number}, {setting}: {judged.said}")


def tried(
    evaluate: Callable[[Sequence[Setting]], Sequence[A]], settings: Sequence[Setting]
) -> list[A | Failed]:
    """The answers of settings; Failed where a setting's own cells fail."""
    try:
        return list(evaluate(settings))
    except CellsFailed as failure:
        if len(settings) == 1:
            return [Failed(next(iter(failure.outcome.failed.values())))]
    # One failed: what the others made is kept, so asking each alone costs nothing.
    return [answer for setting in settings for answer in tried(evaluate, [setting])]


def reclaim(study: optuna.Study, drawn: Collection[str]) -> None:
    """Ask once more for every trial whose driver died. Only the lease's holder may call this.

    The second attempt has what the first had of the parameters `drawn`. A kill in here does no
    harm: a trial that was failed already is seen by its missing retry, a retry by the trial it
    names. A driver's death says nothing of the setting, so attempts are not limited; a trial that
    failed by itself carries an error and is left alone.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    trials = study.get_trials(deepcopy=False)
    retried = {t.user_attrs[_RETRY_OF] for t in trials if _RETRY_OF in t.user_attrs}
    for trial in trials:
        if trial.state != TrialState.FAIL or ended(trial) or trial.number in retried:
            continue
        had = trial.system_attrs.get("fixed_params", {}) | trial.params
        fixed = {name: value for name, value in had.items() if name in drawn}
        attempt = trial.user_attrs.get(_ATTEMPT, 1) + 1
        study.enqueue_trial(fixed, user_attrs={_RETRY_OF: trial.number, _ATTEMPT: attempt})
