"""What tuning costs per trial beside training, on a journal of 500 trials, in seconds of CPU.

The driver asks the Gaussian process, scores nothing (the counts of all 255 subsets are at hand),
picks the best subset and tells. Beside it: bare Optuna, the same sampler and history in memory.
Median of the last trials in both. Looking up stored chains and outputs is not in it.
"""

import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from begin import words
from common import claim

from core.defences import subsets
from results.files import Root
from search.tuning import driver as tuning
from search.tuning import samplers, storage
from search.tuning.members import Tuning
from search.tuning.space import Axis, Space

N_TRIALS, N_TIMED, N_BARE = 500, 15, 3
MEMBERS = ("M", "M90", "M80", "M70", "M60", "M50", "M40", "M30")
AXES = (
    Axis("sigma_255", tuple(range(0, 65, 2))), Axis("xi_percent", tuple(range(10, 91, 20))),
    Axis("qs_af", tuple(range(16, 117, 20))),
)  # fmt: skip


def scores_of(setting: Any) -> subsets.Scores:
    """Counts with one optimum and some noise, the same for the same setting."""
    chance = np.random.default_rng(list(setting.values()))
    far = abs(setting["sigma_255"] - 24) + abs(setting["xi_percent"] - 50) // 4
    n_members = subsets.masks(len(MEMBERS)).sum(axis=1)
    return subsets.Scores(
        n_members=n_members,
        n_benign_right=chance.integers(585, 598, size=255),
        n_adversarial_right=180 - far + n_members + chance.integers(4, size=255),
        n_benign=600,
        n_adversarial=200,
    )


def ours(folder: Path) -> tuple[float, Any]:
    """Seconds per trial of the driver at the end of the study, and the study's trials."""
    asked = Tuning(
        study="bench", space=Space(AXES), members=MEMBERS, starts=(), undefended=597,
        max_decline_points=1.0, objectives="single", question={}, seed=0,
    )  # fmt: skip
    with storage.opened(Root(folder), "bench", None) as opened:

        def evaluate(settings: Any) -> list[subsets.Scores]:
            return [scores_of(setting) for setting in settings]

        def fast(seed: int) -> optuna.samplers.BaseSampler:
            return optuna.samplers.RandomSampler(seed=seed)

        tuning.Driver(opened, asked, evaluate, fast).run(until=N_TRIALS - N_TIMED)
        driver = tuning.Driver(opened, asked, evaluate)
        walls = []
        for until in range(N_TRIALS - N_TIMED + 1, N_TRIALS + 1):
            start = time.process_time()
            driver.run(until=until)
            walls.append(time.process_time() - start)
        return statistics.median(walls), driver.study.get_trials(deepcopy=False)


def bare(trials: Any) -> float:
    """Seconds per trial of Optuna alone with as long a history."""
    distributions = Space(AXES).distributions
    sampler = samplers.gaussian_process(0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([
        optuna.trial.create_trial(
            value=t.values[0], params={name: t.params[name] for name in distributions},
            distributions=distributions,
        )
        for t in trials
    ])  # fmt: skip
    walls = []
    for _ in range(N_BARE):
        start = time.process_time()
        trial = study.ask(distributions)
        scores = scores_of(trial.params)
        study.tell(trial, float(scores.n_adversarial_right.max()))
        walls.append(time.process_time() - start)
    return statistics.median(walls)


def main() -> int:
    """Both in one run."""
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with tempfile.TemporaryDirectory() as folder:
        ours_s, trials = ours(Path(folder))
    bare_s = bare(trials)
    print(f"ours {ours_s:.3f} s a trial, bare Optuna {bare_s:.3f} s, {N_TRIALS} trials")
    holds = claim("tuning's own seconds a trial", ours_s, 0.3)
    return not (claim("tuning / bare Optuna in memory", ours_s / bare_s, 1.0) and holds)


if __name__ == "__main__":
    words()
    sys.exit(main())
