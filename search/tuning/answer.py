"""What a tuned study says: its winner and others on held-out images, and what choosing costs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import results
from core.defences import subsets
from results import Answer
from results import tuned as answers
from results.tuned_picture import tuning_figure
from search.inputs.chains import MEMBERS
from search.tuning.driver import Tuning
from search.tuning.ensembles import REPORT, STUDY, Chosen, Ensembles
from search.tuning.space import Space

STARTS = (32, 16, 48, 0)  # sigma_255 of the first trials: the middle, its halves, and no noise
PAPER_XI = 90  # percent


@dataclass(frozen=True)
class Told:
    """What Optuna's study says, once its driver has let go of it."""

    importances: dict[str, float]
    failed: dict[int, str]
    storage: str


def starts(space: Space, qs_af: int) -> tuple[dict[str, int], ...]:
    """The first settings: each sigma of STARTS at the paper's xi, moved onto the grid."""
    found: list[dict[str, int]] = []
    for sigma in STARTS[: space.size]:
        wanted = {"sigma_255": sigma, "xi_percent": PAPER_XI, "qs_af": qs_af}
        wanted |= {name: 1 for name in space.distributions if name not in wanted}
        near = space.nearest_untried(wanted, [])
        if near is not None and near not in found:
            found.append(near)
    return tuple(found)


def answer(ensembles: Ensembles, tuning: Tuning, told: Told, *, title: str) -> Answer:
    """Report the chosen ensembles on held-out images, and say what the rows say."""
    store, limit = ensembles.engine.store.root, tuning.max_decline_points
    rows = results.load(STUDY, sweep=ensembles.sweep, store=store)
    counts = ("n_benign_right", "n_adversarial_right", "n_members")
    front = subsets.front(*(rows[name].to_numpy(dtype=np.int64) for name in counts))
    found = answers.tuned(rows, front, max_decline_points=limit)
    roles = {
        "none": Chosen(_chosen(found.winner).setting, "M"),
        "single": _chosen(found.single),
        "paper": _chosen(found.paper),
        "tuned": _chosen(found.winner),
    }
    reported = ensembles.report(list(roles.values()))
    held_out = results.load(REPORT, sweep=ensembles.sweep, store=store)
    asked = {
        role: (chain, one.members)
        for (role, one), chain in zip(roles.items(), reported, strict=True)
    }
    expected = _optimism(ensembles, found, limit)
    report = answers.by_role(held_out, asked)
    text = answers.answer_text(found, report, expected, max_decline_points=limit)
    title = f"{title}: {len(found.trials)} chains of study {tuning.study}"
    figure = tuning_figure(found, told.importances, title=title, max_decline_points=limit)
    return Answer(
        text=f"{title}\n{text}\nstudy kept in {told.storage}",
        frames={"trials": found.trials, "front": found.front},
        figures={"tuning": figure},
        files={"ensemble.safetensors": ensembles.export(roles["tuned"])},
        failed={f"trial {number}": error for number, error in told.failed.items()},
    )


def _chosen(line: Any) -> Chosen:
    setting = {
        "sigma_255": int(line["sigma_255"]),
        "xi_percent": round(100 * line["xi"]),
        "qs_af": int(line["qs_af"]),
    }
    return Chosen(setting, str(line["members"]))


def _optimism(ensembles: Ensembles, found: answers.Tuned, limit: float) -> answers.Optimism:
    """What choosing among all subsets of all chains costs."""
    settings = [_chosen(line).setting for _, line in found.trials.iterrows()]
    right = {}
    for subject in ("benign", "adversarial"):
        said = ensembles.said(settings, "search", subject)
        rule = ensembles.recipe.rule
        parts = [subsets.right(s.outputs.numpy(), s.joined("labels"), rule=rule) for s in said]
        right[subject] = np.concatenate(parts)
    return answers.optimism(
        right["benign"],
        right["adversarial"],
        np.concatenate([piece.right for piece in ensembles.of("search", "benign")]),
        np.tile(subsets.masks(len(MEMBERS)).sum(axis=1), len(settings)),
        most_lost=subsets.most_lost(right["benign"].shape[1], limit),
    )
