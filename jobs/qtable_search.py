"""Which quantization table washes adversarial perturbations out, and leaves benign images alone?

    python jobs/qtable_search.py --smoke                 # two small cells on this machine
    python jobs/qtable_search.py --eps-255 8             # the whole search on bundled digits
    python jobs/qtable_search.py --eps-255 8 --bands measured    # beyond the paper
    python jobs/qtable_search.py --data photos --space ycbcr --rate 200   # bits per pixel, too
    python jobs/qtable_search.py --eps-255 8 --figure    # answer and draw from stored rows

Algorithm 1 of the defensive-table paper: every partition pattern k and step QS_AF is scored on
benign and adversarial images; the winner has the largest Def among the tables whose Acc_dec stays
below one point. The winner is then reported on images that the search has not seen. With
`--bands measured` the finely quantised coefficients are not the first k diagonals but as many of
the smallest measured ratio delta_a / delta_b. `--space` quantises in YCbCr, as libjpeg does;
`--rate` counts bits, and names the tables that no other beats in both Def and bits per pixel.

Last answer, digits, FGSM 8/255: k 3, QS_AF 116 (held out: 84.0 to 96.5 %, benign -0.2). Photos
32 px, FGSM 2/255: k 10, QS_AF 56, tied with 156 others (46.5 to 52.0 %, benign -0.5 points).
"""

from dataclasses import dataclass, replace

from search import Job, flag, later, main
from search.tables.asked import Flags

with later():
    import pandas as pd

    from core.codec import qtable
    from core.errors import InputError
    from results import Answer, summary
    from results import frequency as deviations
    from results.tables.answer import table_answer
    from results.tables.flat import best_flat
    from results.tables.winner import BASELINES
    from search import Lab
    from search.engine.plan import Grid
    from search.measures import frequencies
    from search.references import counted, references
    from search.screening import audited, screened
    from search.tables.plan import REPORT, SEARCH, Question
    from search.tables.tally import grid


@dataclass(frozen=True, kw_only=True)
class Asked(Flags):
    """The study's own flags."""

    step_255: float | None = flag(None, "of fgsm's kin, in 1/255", "STEP")
    attack_steps: int | None = flag(None, "of all attacks but fgsm")
    restarts: int | None = flag(None, "of pgd")
    float: bool = flag(False, "keep adversarial examples unrounded")


def ask(lab: Lab, asked: Asked) -> Question:
    """Prepare what the flags ask for: classifier, benign images, adversarial examples."""
    attack = lab.attack(
        asked.attack,
        eps_255=asked.eps_255,
        step_255=asked.step_255,
        n_steps=asked.attack_steps,
        n_restarts=asked.restarts,
        eight_bit=not asked.float,
    )
    grid(asked.patterns, asked.qs_af, asked.qs_of)  # bad tables before long work
    if asked.space != "rgb":
        lab.needs_colour()
        if asked.bands == "measured":
            raise InputError(
                f"measured bands are of tables in RGB, got --space {asked.space}.\n"
                "Hint: leave out --bands or --space."
            )
    n = {"search": asked.adversarial, "report": asked.report_adversarial}
    n_benign = lab.count(search=asked.benign)["search"]
    if asked.rate > n_benign:
        raise InputError(
            f"bits are counted on benign images of the search, and there are {n_benign}, got "
            f"--rate {asked.rate}.\nHint: fewer, or a larger --benign."
        )
    benign = lab.benign(attacked=n, search=asked.benign, report=asked.report_benign)
    (gray,) = lab.attacked(benign, attack, first_right=n, eight_bit=not asked.float)
    pieces = (*gray.pieces, *benign.pieces)
    question = Question(lab.inputs, lab.classifier, attack, pieces, asked)
    if asked.best_first:
        mild = qtable.in_space(f"uniform{asked.qs_of}", asked.space)
        ordered = lab.in_order(question.of("search"), behind=mild)
        question = replace(question, in_order=tuple(ordered))
    if asked.bands == "diagonal":
        return question
    found = (benign.of("search"), gray.of("search"))
    cells = frequencies.cells(lab.inputs, lab.classifier, attack, *found, block=asked.block)
    words = (attack.name, f"eps{attack.eps_255:g}")
    rows = lab.sweep(frequencies.STUDY, list(cells), *words, label="frequencies", listed=False)
    return replace(question, ratio=frequencies.luma_ratio(deviations.deviations(rows)))


def run(lab: Lab, asked: Asked) -> Answer:
    """Search, and report the winner on held-out images."""
    return screened(lab, ask(lab, asked), answer)


def answer(lab: Lab, question: Question) -> Answer:
    """The answer to a question that is prepared."""
    asked, attack, sweep = question.asked, question.attack, question.sweep
    plan, tally = question.plan()
    rows = lab.grouped(audited(lab.run(SEARCH, plan, sweep, label="table search")))
    if not asked.best_first:  # whose plan is told of every cell
        tally.recount(summary(rows))
    winner, export = tally.leader(), ""
    names = [*BASELINES] if winner is None else [*BASELINES, winner.name]
    beside = references(lab, question)
    flat, jpeg, rates = beside.get("flat"), beside.get("jpeg"), None
    if flat is not None:
        names += [best_flat(flat, max_decline_points=asked.max_decline) or "none"]
    cells = question.under(list(dict.fromkeys(names)))
    report = audited(lab.run(REPORT, Grid(REPORT.cell_id, cells), sweep, label="held-out report"))
    report = lab.grouped(report[report["table"].isin(names)])
    if winner is not None:
        export = qtable.to_text(winner.table(), comment=f"{winner.name}, found by {sweep}")
    if asked.rate:
        searched = summary(rows, partial=asked.best_first)
        rates = counted(lab, question, list(pd.concat([searched, *beside.values()])["table"]))
    bands = ", bands as measured" if question.bands else ""
    return table_answer(
        rows,
        report,
        flat,
        title=f"{lab.title}, {attack.name} {attack.budget}{bands}",
        under=f"{attack.name} {attack.budget}",
        max_decline_points=asked.max_decline,
        partial=asked.best_first,
        whole=(asked.patterns, asked.qs_af),
        bands=question.bands,
        export=export,
        jpeg=jpeg,
        rates=rates,
    )


SMOKE = (
    "--patterns 3 --qs-af 51,121 --benign 50 --adversarial 20 "
    "--report-benign 50 --report-adversarial 20"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, by_rows=True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
