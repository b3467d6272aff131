"""Accuracies of defences under threats, and the signs of a masked gradient."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from results.answer import Answer
from results.counts import Rows, accuracies, compared, group_note, once, spread, test_of
from results.draw import squares
from results.words import gained, of_runs, runs_note, text_table, whole

KEY = ["threat", "attack", "norm", "eps_255", "n_steps", "n_restarts", "n_samples"]
THREATS = ("none", "gray", "black", "white", "worst")
UNBOUNDED_255 = 1e6  # a budget of that or more is none
UNDEFENDED = "none"
N_LEFT, SHARE_LEFT = 3, 0.02  # images that show a masked gradient: so many, and so large a share
_PANELS = {
    "benign, and gray box (the attack knows the undefended network)": ("none", "gray"),
    "black box (the attack knows another network)": ("black",),
    "white box (the attack goes through the whole defence); worst of all within the budget": (
        "white",
        "worst",
    ),
}


@dataclass(frozen=True)
class Column:
    """One attack in one threat; `worst` is the best of all of one L-infinity budget or less."""

    threat: str
    attack: str
    norm: str
    eps_255: float
    n_steps: int
    n_restarts: int
    n_samples: int = 0  # draws of a randomised defence that a gradient is the mean of

    @property
    def asks_gradient(self) -> bool:
        """Whether the attack differentiates; one that does not asks for logits alone."""
        return not self.attack.startswith("square")

    @property
    def effort(self) -> int:
        """Gradients of all restarts."""
        return self.n_steps * self.n_restarts * max(1, self.n_samples)

    def text(self, *, worst: str = "of all, eps") -> str:
        """The attack in words of a table's head."""
        if self.threat == "none":
            return "benign"
        if self.threat == "worst":
            return f"{worst} ≤ {self.eps_255:g}"
        eps = "" if self.eps_255 >= UNBOUNDED_255 or self.attack == "bpda" else f" {self.eps_255:g}"
        steps = f"x{self.n_steps}" if self.attack.startswith(("pgd", "apgd")) else ""
        restarts = f"x{self.n_restarts}" if self.n_restarts > 1 else ""
        return f"{self.attack}{eps}{steps}{restarts}"


@dataclass(frozen=True)
class Outcomes:
    """Which images each defence gets right: arrays by defence and column, images in one order.

    Of several draws in most of them; of several trainings each image once for each.
    """

    right: dict[tuple[str, Column], np.ndarray]

    @property
    def columns(self) -> list[Column]:
        """Every column, gray box before black before white, weaker before stronger."""
        return sorted({column for _, column in self.right}, key=_rank)

    @property
    def defences(self) -> list[str]:
        """Every defence, in order of first mention."""
        return list(dict.fromkeys(defence for defence, _ in self.right))


def _rank(column: Column) -> tuple[Any, ...]:
    order = ("none", "fgsm", "ifgsm", "tifgsm", "difgsm", "deepfool", "cw", "bpda", "pgd", "apgd")
    name = column.attack.partition(":")[0]
    known = order.index(name) if name in order else len(order)
    effort = (column.eps_255, column.n_steps, column.n_restarts, column.n_samples)
    return (THREATS.index(column.threat), known, column.attack, *effort)


def outcomes(rows: pd.DataFrame, defences: Sequence[str]) -> Outcomes:
    """Rows as arrays, each budget's worst case beside them. ValueError as `once`, or for holes."""
    seen = _seen(rows)
    unit = ["run", "image"] if "run" in seen else ["image"]
    seen = _share_right(seen, [*KEY, "defence", *unit]).sort_values(unit)
    seen = seen.drop_duplicates([*KEY, "defence", *unit])
    images = seen[unit].drop_duplicates().to_numpy()
    right: dict[tuple[str, Column], np.ndarray] = {}
    groups: Any = seen.groupby([*KEY, "defence"], sort=False)
    for (*key_values, defence), own in groups:
        column = Column(*key_values)
        if not np.array_equal(own[unit], images):
            raise ValueError(
                f"{defence} has {len(own)} images under {column.text()}, others {len(images)}.\n"
                "Hint: run the study again; it computes what is missing."
            )
        right[defence, column] = own["share"].to_numpy() > 0.5
    return Outcomes({(d, c): right[d, c] for d in defences for (e, c) in right if e == d})


def _seen(rows: Rows) -> Rows:
    """Every outcome once, each budget's worst case beside them; draws told where they differ."""
    texts = dict.fromkeys(("threat", "attack", "norm", "defence"), str)
    seen = once(rows.astype(texts), [*KEY, "defence"])
    numbers = seen.groupby([*KEY[:-1], "defence"])["n_samples"].transform("nunique")
    seen = seen.assign(n_samples=seen["n_samples"].where(numbers > 1, 0))
    return pd.concat([seen, worst_cases(seen)])


def worst_cases(rows: Rows) -> Rows:
    """For each defence and white-box L-infinity budget a row an image: the worst within the budget.

    A wrong answer where any attack of any threat found one, or the image as it is has one. Only
    defences that were attacked in the white box with that budget have such rows. Of several draws
    of a randomised defence those under the one attack that leaves the image the least share: the
    attacker does not know the draw. Networks of several trainings are attacked each for itself.
    """
    unit = [name for name in ("run", "image") if name in rows]
    worst_first = _share_right(rows, [*KEY, "defence", *unit]).sort_values(["share", *KEY])
    linf = worst_first[worst_first["norm"] == "linf"].drop(columns="share")
    white, again = linf[linf["threat"] == "white"], "repeat" in rows
    found = [rows.iloc[:0]]
    for eps, own in white.groupby("eps_255"):
        within = linf[(linf["eps_255"] <= eps) & linf["defence"].isin(own["defence"])]
        worst = within.drop_duplicates(["defence", "image", *(["repeat"] if again else [])])
        found.append(
            worst.assign(
                threat="worst", attack="any", eps_255=eps, n_steps=0, n_restarts=1, n_samples=0
            )
        )
    return pd.concat(found)


def _share_right(rows: Rows, unit: Sequence[str]) -> Rows:
    """Rows with the `share` of right answers among those that differ by their draw alone."""
    share = (rows["predicted"] == rows["label"]).astype(float)
    if "repeat" in rows:
        share = share.groupby([rows[name] for name in unit], observed=True).transform("mean")
    return rows.assign(share=share)


def _repeated(rows: Rows) -> Rows:
    """Where rows tell runs or draws apart, a column `repeat`; all defences with as many draws.

    One that does not draw at random does the same in each.
    """
    if not {"run", "draw"} & set(rows):
        return rows
    draw = rows.get("draw", 0)
    rows = rows.assign(draw=draw, defence=rows["defence"].astype(str))
    n_draws = int(rows["draw"].max()) + 1
    once_only = rows.groupby("defence")["draw"].transform("max") == 0
    draws = pd.DataFrame({"draw": range(n_draws)})
    same = rows[once_only].drop(columns="draw").merge(draws, how="cross")
    rows = pd.concat([same, rows[~once_only]])
    return rows.assign(repeat=rows.get("run", 0) * n_draws + rows["draw"])


def threat_answer(
    rows: Rows, defences: Sequence[str], *, title: str, judged: bool = True
) -> Answer:
    """Accuracies of all defences under all threats.

    `judged`: with the marks of masked gradients and what is gained over no defence. Rows may tell
    apart `run` (networks trained anew) and `draw` (of a randomised defence): an image counts with
    its mean over both, so a right answer in half of the draws is half a right answer, and lines say
    how far single runs and draws lie apart.
    """
    rows = _repeated(rows)
    found = outcomes(rows, defences)
    lines = _lines(rows, found)
    marks = masked(found) if judged else {}
    short = marks.pop(UNDEFENDED, [])  # it masks nothing
    signs = ["; ".join(marks.get(d, ())) for d in lines["defence"]]
    lines = lines.assign(masked=signs)
    heads = {name: f"{name}{' !' if name in marks else ''}" for name in found.defences}
    named = _distinct(found.columns, lambda c: c.text() if c.threat == "none" else _named(c))
    attacked = [named[c] for _, c in found.right]
    shown = lines.assign(attacked=attacked, head=lines["defence"].map(heads))
    order = {named[c]: i for i, c in enumerate(found.columns)}
    shown = shown.sort_values("attacked", key=lambda s: s.map(order), kind="stable")
    table = text_table(shown, "attacked", "head", cell=of_runs(whole))
    table = re.sub("^attacked", " " * 8, table, flags=re.MULTILINE)
    n = lines["n"].iloc[0]
    text = [title, table, f"accuracy in % of {n} held-out images [95 % interval, Wilson]"]
    text += [*_repeat_notes(lines, rows), group_note(lines)]
    text += [f"! {name}: {reason}" for name, reasons in marks.items() for reason in reasons]
    if marks:
        text += ["! one white-box attack is no lower bound there: its gradient is masked"]
    text += [f"? {UNDEFENDED}: {reason}: the attack is too short" for reason in short]
    text += _gains(rows, found.defences) if judged else []
    figures = {"threat_table": _figure(found, lines, marks, title)}
    return Answer(
        text="\n".join(text), verdict=verdict(lines), frames={"accuracies": lines}, figures=figures
    )


def verdict(lines: pd.DataFrame) -> str:
    """The best defence beside none where the attack does not know of it, and where it does.

    `lines` are those of the answer: for the gray box under the attack that hurts most without a
    defence, for the white box in the worst case of the least budget.
    """
    gray, worst = (lines[lines["threat"] == threat] for threat in ("gray", "worst"))
    said = []
    bare = gray[gray["defence"] == UNDEFENDED]
    if not bare.empty:
        hardest = bare.sort_values("accuracy", kind="stable").iloc[0]
        same = (gray[KEY] == hardest[KEY]).all(axis=1)
        attack = Column(*hardest[KEY]).text()
        said.append(f"gray box, {attack}: {_best(gray[same])}")
    if not worst.empty:
        least = worst["eps_255"].min()
        own = worst[worst["eps_255"] == least]
        said.append(f"white box, worst of all within {least:g}/255: {_best(own)}")
    return "; ".join(said)


def _best(lines: pd.DataFrame) -> str:
    """The line of most right answers, in words, and that without a defence."""
    bare = lines[lines["defence"] == UNDEFENDED]
    own = lines[lines["defence"] != UNDEFENDED].sort_values("accuracy", kind="stable")
    said = [f"{UNDEFENDED} {line['accuracy']:.1f} %" for _, line in bare.iterrows()]
    if own.empty:
        return said[0]
    line = own.iloc[-1]
    best = f"{line['defence']} {line['accuracy']:.1f} % right"
    if line["threat"] == "worst" and line["masked"]:
        best += " (its gradient is masked)"
    of = [f"the best of {len(own)} on these images"] * (len(own) > 1)
    return ", ".join([best, *of, *said])


def _repeat_notes(lines: pd.DataFrame, rows: Rows) -> list[str]:
    """What was averaged."""
    notes = []
    if "run_least" in lines:
        notes.append(runs_note(rows["run"].nunique()))
    if "draw_least" in lines:
        apart = (lines["draw_most"] - lines["draw_least"]).max()
        notes.append(
            f"what draws at random: mean of {rows['draw'].nunique()} draws; single draws lie up to "
            f"{apart:.1f} points apart"
        )
    return (
        [*notes, "[ ] is that of one measurement an image; the mean's own is no longer"]
        if notes
        else []
    )


def _figure(
    found: Outcomes, lines: pd.DataFrame, marks: Mapping[str, list[str]], title: str
) -> Figure:
    columns = _distinct(found.columns, lambda c: f"{c.threat}/{c.text(worst='worst')}")
    lines = lines.assign(column=[columns[c] for _, c in found.right])
    panels = {}
    for name, threats in _PANELS.items():
        if wanted := [text for c, text in columns.items() if c.threat in threats]:
            panels[name] = wanted
    plain = [c for c in columns if c.threat == "white" and c.asks_gradient and _identity(c) == c]
    masked_squares = [(d, columns[c]) for d in marks for c in plain if (d, c) in found.right]
    note = "; red: masked gradient, no lower bound" if marks else ""
    said = f"{title}\naccuracy in %, 95 % interval below; budgets (eps) in 1/255{note}"
    return squares(lines, "defence", "column", title=said, panels=panels, marked=masked_squares)


def _distinct(columns: Sequence[Column], name: Callable[[Column], str]) -> dict[Column, str]:
    """A name for each column; where two would have one, their steps and draws behind it."""
    alike: dict[str, list[Column]] = {}
    for column in columns:
        alike.setdefault(name(column), []).append(column)
    names = {}
    for text, own in alike.items():
        n_steps, n_samples = ({getattr(c, n) for c in own} for n in ("n_steps", "n_samples"))
        for c in own:
            steps = f" {c.n_steps} steps" if len(n_steps) > 1 else ""
            draws = f" {c.n_samples} draws" if len(n_samples) > 1 and c.n_samples else ""
            names[c] = text + steps + draws
    return {column: names[column] for column in columns}


def _lines(rows: Rows, found: Outcomes) -> pd.DataFrame:
    """A line per defence and column, as `accuracies`, in the order of the outcomes."""
    frame = pd.DataFrame([{"defence": d, **vars(c)} for d, c in found.right])
    by = ["defence", *KEY]
    seen = _seen(rows)
    return spread(frame.merge(accuracies(seen, by), on=by, how="left"), seen, by)


def masked(found: Outcomes) -> dict[str, list[str]]:
    """The defences some of whose white-box figures cannot be believed, and why.

    An attack that should be the weaker one breaks images, one by one, that a stronger one left: the
    same attack with a smaller budget or less effort, one step instead of many; examples from
    another network, the undefended one, or a search without gradients against all gradients at that
    budget; the same attack through another derivative of the quantiser than the identity's. From
    `N_LEFT` images and `SHARE_LEFT` of all; fewer are chance.

    Source: Athalye, Carlini and Wagner (2018), section 3.1; Carlini et al. (2019), section 5.
    """
    out: dict[str, list[str]] = {}
    for defence in found.defences:
        own = {c: r for (d, c), r in found.right.items() if d == defence and c.norm == "linf"}
        signs: dict[str, tuple[int, str]] = {}  # of each kind the one that shows most
        for kind, weak, strong, left in _pairs(own):
            n = int((left & ~own[weak]).sum())
            if n >= max(N_LEFT, SHARE_LEFT * len(left), signs.get(kind, (0, ""))[0] + 1):
                said = f"{_named(weak)} breaks {n} of {len(left)} images that {strong} left"
                signs[kind] = (n, said)
        if signs:
            out[defence] = [said for _, said in signs.values()]
    return out


def _pairs(own: Mapping[Column, np.ndarray]) -> Iterator[tuple[str, Column, str, np.ndarray]]:
    """What should be weaker, what stronger, and what the stronger leaves right."""
    white = [c for c in own if c.threat == "white"]
    plain = [c for c in white if c.asks_gradient and _identity(c) == c]
    for strong, weak in itertools.permutations(plain, 2):
        alike = weak.attack == strong.attack or weak.attack.partition(":")[0] == "fgsm"
        if alike and weak.eps_255 <= strong.eps_255 and weak.effort <= strong.effort:
            yield "weaker", weak, _named(strong), own[strong]
    for strong, weak in itertools.product(plain, white):
        if _identity(weak) == strong != weak:
            yield "other", weak, _named(strong), own[strong]
    for eps in dict.fromkeys(c.eps_255 for c in white):
        gradients = [own[c] for c in white if c.eps_255 == eps and c.asks_gradient]
        for weak in own:
            blind = weak.threat in ("gray", "black") or (weak in white and not weak.asks_gradient)
            if blind and weak.eps_255 == eps and gradients:
                yield "blind", weak, f"every gradient at {eps:g}", np.all(gradients, axis=0)


def white_text(rows: Rows) -> list[str]:
    """What the worst of white-box attacks leaves of each defence, and what is gained over none."""
    lines = accuracies(worst_cases(rows), ["eps_255", "defence"])
    head = f"white box, the worst of all attacks: % right of {lines['n'].iloc[0]} [95 %, Wilson]"
    said = [_line(line, whole(line)) for _, line in lines.iterrows()]
    return [head, *said, group_note(lines), *_gains(rows, lines["defence"].unique())]


def _identity(column: Column) -> Column:
    """The same attack through the identity's derivative."""
    name, _, settings = column.attack.partition(":")
    kept = [pair for pair in settings.split(",") if not pair.startswith("through=")]
    return replace(column, attack=f"{name}:{','.join(kept)}".rstrip(":"))


def _gains(rows: Rows, defences: Iterable[str]) -> list[str]:
    """What each defence gains over none in the worst case, on the same images."""
    worst = worst_cases(rows)
    pairs = [(UNDEFENDED, name) for name in defences if name != UNDEFENDED]
    if UNDEFENDED not in set(worst["defence"]) or not pairs:
        return []
    found = compared(worst, pairs, ["eps_255"]).assign(defence=lambda own: own["second"])
    head = f"points gained over none in the worst case [95 %, Tango; p: {test_of(found)}]"
    return [head, *(_line(line, gained(line)) for _, line in found.iterrows())]


def _line(line: Any, said: str) -> str:
    return f"  eps ≤ {line['eps_255']:g}  {line['defence']:<24}{said}"


def _named(column: Column) -> str:
    return f"{column.threat} {column.text()}"
