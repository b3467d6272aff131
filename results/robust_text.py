"""What is said of training sets against corruptions."""

from typing import Any

import numpy as np

from results.counts import Rows
from results.robust import Answered
from results.words import from_to, interval, moved, price, text_table


def text(found: Answered, *, clean: str = "") -> str:
    """Ranking, settings, rules and their optimism, gains over originals."""
    ranked, n_units = found.ranking(), len(found.report.trials)
    searched, told = (split.trials.sum() for split in (found.search, found.report))
    unit = f"{n_units:,} {'images' if n_units == told else 'groups of images'}"
    wide = max(17, *(len(setting) + 1 for setting in ranked["setting"]))
    head = f"{'family':<9}{'setting':<{wide}}{'search':>8}  {'held out':<20}{'clean':>6}"
    asked = f"{len(found.search.tests)} corrupted test sets; choices on {searched:,} search images"
    said = [f"{asked}, numbers of {told:,} held-out ones [95 %, {unit} resampled]"]
    said.append("")
    said += ["ranking by BDA: mean accuracy over all corruptions and severities, %; printed: rank"]
    said += [f"{head}{'BDA picks':>10}{'printed':>8}"]
    for _, line in ranked.iterrows():
        printed = str(line["printed"]) if line["printed"] else "-"
        said.append(
            f"{line['family']:<9}{line['setting']:<{wide}}{line['search']:>8.1f}  "
            f"{interval(line):<20}{line['clean']:>6.1f}{line['wins']:>8.0f} %{printed:>8}"
        )
    said += [f"rank correlation with the printed order: {correlations(ranked)}", ""]
    best = found.best("BDAD")
    best = best[best["family"] != "original"]
    if not best.empty:
        said += [
            "BDAD: the setting for each corruption (share of resamples that choose it; printed)"
        ]
        said.append(text_table(best, "corruption", "family", cell=_setting))
    costs = found.optimism()
    if not costs.empty:
        said.append(
            "\nmean accuracy over all corruptions, chosen on search; chosen where it is reported, "
            "as the source does; optimism of that [95 % of resamples, in which chance chooses "
            "more]; of so many training sets"
        )
        said += [_optimism(line) for _, line in costs.iterrows()]
    gained = found.gains()
    if not gained.empty:
        said.append(
            "\npoints that each family's BDA setting gains over originals, all severities "
            f"(p: exchange of images or groups, Holm's of {len(gained)})"
        )
        said.append(text_table(gained, "corruption", "family", cell=moved))
    return "\n".join([*said, *([clean] if clean else [])])


def verdict(found: Answered) -> str:
    """The training set chosen on search images, on corrupted held-out ones beside originals."""
    ranked = found.ranking()
    plain = ranked[ranked["family"] == "original"]
    others = ranked[ranked["family"] != "original"].sort_values("search", kind="stable")
    if plain.empty or others.empty:
        line = ranked.sort_values("search", kind="stable").iloc[-1]
        return f"{line['setting']}: {line['accuracy']:.1f} % of corrupted images right, held out"
    line, bare = others.iloc[-1], plain.iloc[0]
    right = from_to(bare["accuracy"], line["accuracy"])
    cost = price(bare["clean"] - line["clean"])
    return (
        f"trained on {line['setting']} in place of originals: {right} of corrupted images {cost}, "
        f"held out; the best of {len(others)} sets, chosen on search images"
    )


def correlations(ranked: Rows) -> str:
    """Spearman's, of every family with three printed settings or more."""
    said = []
    for family, own in ranked[ranked["printed"] > 0].groupby("family", sort=False):
        if len(own) > 2:
            ranks = own[["rank", "printed"]].rank()
            rho = float(np.corrcoef(ranks["rank"], ranks["printed"])[0, 1])
            said.append(f"{family} {rho:+.2f} (n {len(own)})")
    return ", ".join(said) or "-"


def _setting(line: Any) -> str:
    printed = f"; {line['printed']}" if line["printed"] else ""
    return f"{line['setting']} ({line['wins']:.0f} %{printed})"


def _optimism(line: Any) -> str:
    return (
        f"{line['family']:<10}{line['rule']:<7}{interval(line):<20}{line['same']:>6.1f}  "
        f"{line['optimism']:+.2f} [{line['optimism_low']:+.2f}, {line['optimism_high']:+.2f}]  "
        f"of {line['n_sets']}"
    )
