"""Tuning to its end, and what it says: the winner on held-out images, and what choosing costs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import results
from core.defences import subsets
from core.errors import InputError
from core.known import MEMBERS
from results import Answer
from results import tuned as answers
from results.tuned_picture import tuning_figure
from search.inputs.chains import Member
from search.tuning import storage
from search.tuning.asked import Flags
from search.tuning.driver import Driver, Told
from search.tuning.ensembles import REPORT, STUDY, Chosen, Ensembles
from search.tuning.members import Tuning
from search.tuning.space import Space

STARTS = (32, 16, 48, 0)  # sigma_255 of the first trials: the middle, its halves, and no noise
PAPER_XI = 90  # percent
WINNER = "ensemble.safetensors"


def starts(space: Space, qs_af: int) -> tuple[dict[str, int], ...]:
    """The first settings: each sigma of STARTS at the paper's xi, moved onto the grid."""
    found: list[dict[str, int]] = []
    for sigma in STARTS[: space.size]:
        wanted = {"sigma_255": sigma, "xi_percent": PAPER_XI, "qs_af": qs_af}
        near = space.nearest_untried(dict.fromkeys(space.distributions, 1) | wanted, [])
        if near is not None and near not in found:
            found.append(near)
    return tuple(found)


def tune(opened: storage.Opened, ensembles: Ensembles, tuning: Tuning, asked: Flags) -> Told:
    """Go on with the study as the flags say, unless they want a figure alone."""
    driver = Driver(opened, tuning, ensembles)
    if not asked.figure:
        with ensembles.noted():
            parallel = asked.at_a_time(ensembles.engine.slots())
            driver.run(until=asked.until, more=asked.more, parallel=parallel)
        driver.study.set_user_attr("ensemble", f"answers/{ensembles.sweep}/{WINNER}")
    return Told(driver.importances(), driver.failed(), opened.name)


def answer(
    ensembles: Ensembles,
    tuning: Tuning,
    told: Told,
    *,
    title: str,
    under: str,
    white: Callable[[Sequence[Member]], Sequence[str]],
) -> Answer:
    """Report the chosen ensembles on held-out images, and say what the rows say.

    `under` names the attack. `white` says what an attack through the whole of the tuned one leaves.
    """
    if not ensembles.n_done:
        raise InputError(f"no trial of {tuning.study!r} is complete.\nHint: --trials 12")
    limit = tuning.max_decline_points
    stored: dict[str, Any] = {"sweep": ensembles.sweep, "store": ensembles.engine.store.root}
    rows = results.load(STUDY, **stored)
    counts = ("n_benign_right", "n_adversarial_right", "n_members")
    front = subsets.front(*(rows[name].to_numpy(dtype=np.int64) for name in counts))
    found = answers.tuned(rows, front, max_decline_points=limit)
    winner = _chosen(found.winner)
    roles = {"none": replace(winner, members="M"), "single": _chosen(found.single)}
    roles |= {"paper": _chosen(found.paper), "tuned": winner}
    ensembles.report(list(roles.values()))
    asked = {role: (ensembles.chain_of(one.setting), one.members) for role, one in roles.items()}
    reported, data = results.load(REPORT, **stored), ensembles.source.open()
    if data.grouped_by:
        reported = results.grouped(reported, data.group)
    held_out = answers.held_out_rows(reported, asked)
    expected = _optimism(ensembles, found, limit)
    text = answers.answer_text(found, held_out, expected, max_decline_points=limit)
    title = f"{title}: {len(found.trials)} chains of study {tuning.study}"
    figure = tuning_figure(found, told.importances, title=title, max_decline_points=limit)
    return Answer(
        text="\n".join(
            [title, text, *white(ensembles.members(winner)), f"study kept in {told.storage}"]
        ),
        verdict=answers.verdict(found, held_out, under),
        frames={"trials": found.trials, "front": found.front},
        figures={"tuning": figure},
        files={WINNER: ensembles.export(winner)},
        failed={f"trial {number}": error for number, error in told.failed.items()},
    )


def _chosen(line: Any) -> Chosen:
    xi = round(100 * line["xi"])
    setting = {"sigma_255": int(line["sigma_255"]), "xi_percent": xi, "qs_af": int(line["qs_af"])}
    return Chosen(setting, str(line["members"]))


def _optimism(ensembles: Ensembles, found: answers.Tuned, limit: float) -> answers.Optimism:
    """What choosing among all subsets of all chains costs."""
    settings = [_chosen(line).setting for _, line in found.trials.iterrows()]
    right, rule = {}, ensembles.recipe.rule
    for subject in ("benign", "adversarial"):
        said = ensembles.said(settings, "search", subject)
        right[subject] = np.concatenate([subsets.right(*s.labelled, rule=rule) for s in said])
    return answers.optimism(
        right["benign"],
        right["adversarial"],
        np.concatenate([piece.right for piece in ensembles.of("search", "benign")]),
        np.tile(subsets.masks(len(MEMBERS)).sum(axis=1), len(settings)),
        most_lost=subsets.most_lost(right["benign"].shape[1], limit),
    )
