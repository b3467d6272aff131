"""The measured surface: what each table keeps and loses, one line per table.

A row is one image under one table. Counts decide; percentages are for reading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.counts import accuracies, compared, gains, group_note
from results.stats import paired_decline, wilson
from results.words import braces, chance, extent, from_to, interval, price

SUBJECTS = ("benign", "adversarial")

MEASURES = {
    "acc_benign": "benign %",
    "acc_dec": "decline, points",
    "def_all": "Def all %",
    "def_successful": "Def successful %",
}
_NAMES = ["table", "pattern", "qs_of", "qs_af"]
_NEEDED = [*_NAMES, "subject", "image", "label", "undefended", "predicted"]

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """Rows as numbers: positions in `tables`, in SUBJECTS and among the distinct images."""

    tables: pd.DataFrame  # table, pattern, qs_of, qs_af: a line per table, baselines first
    table: Integers  # [rows]
    subject: Integers  # [rows]
    image: Integers  # [rows], in order of image id: resamples do not depend on the rows' order
    was_right: Bools  # [rows], without any codec
    right: Bools  # [rows], after the codec with the table
    group: Integers | None  # [rows], where groups of images are known


def summary(rows: pd.DataFrame, *, partial: bool = False) -> pd.DataFrame:
    """Counts and percentages, one line per table, baselines first, then by pattern and qs_af.

    Counts: n_benign, n_benign_right_undefended, n_benign_right, n_benign_broken (right without
    the codec and wrong after it), n_adv, n_adv_right, n_successful (adversarial images the
    undefended model gets wrong) and n_successful_right. Percent: acc_benign, def_all (of all
    adversarial images), def_successful (of the successful). Percentage points: acc_dec. Each
    has a 95 % interval in *_low and *_high: Tango's for acc_dec, Wilson's for the rest. NaN
    where there is nothing to divide by, as for a subject that is absent.

    `rows` hold one image under one table each, of a single data set, model, attack, budget, seed
    and split. `partial` drops tables that miss images another table has, instead of refusing: for
    a search that stopped measuring tables that could no longer win.

    ValueError for columns or values that are missing, a (subject, image, table) measured twice,
    tables measured on different images (unless `partial`), or no table on all of them.
    """
    surface = surface_of(rows)
    return lines_of(surface, complete(surface, partial=partial)).reset_index(drop=True)


def feasible(lines: pd.DataFrame, *, max_decline_points: float = 1.0) -> Bools:
    """Which lines of `summary` lose strictly less than this many points, decided in integers.

    Returns: [lines]; False where no benign image was measured.
    """
    limit = Fraction(str(max_decline_points))  # the decimal as written: 0.1 is a tenth
    n_lost = lines["n_benign_right_undefended"] - lines["n_benign_right"]
    kept = 100 * limit.denominator * n_lost < limit.numerator * lines["n_benign"]
    return kept.to_numpy(dtype=np.bool_)


def surface_of(rows: pd.DataFrame) -> Surface:
    """Rows as numbers; raises ValueError as `summary` for missing columns and values."""
    missing = [name for name in _NEEDED if name not in rows.columns]
    if missing or rows.empty:
        raise ValueError(
            f"expected rows with the columns {_NEEDED}, found {len(rows)} rows that lack "
            f"{missing}.\nHint: read them from the store of a table search."
        )
    code, names = pd.factorize(rows["table"])  # -1 stands for no value, here and below
    kind, kinds = pd.factorize(rows["subject"])
    subject = np.append(pd.Index(SUBJECTS).get_indexer(kinds), -1)[kind]
    if code.min() < 0 or subject.min() < 0:
        unknown = sorted({str(name) for name in rows["subject"][subject < 0].unique()})
        raise ValueError(
            f"expected a table and a subject of {SUBJECTS} in every row, found the subjects "
            f"{unknown} and {int((code < 0).sum())} rows without a table.\n"
            "Hint: keep only the rows of the table search."
        )
    somewhere = np.empty(len(names), dtype=np.int64)
    somewhere[code] = np.arange(len(code))  # a row of each table; any will do
    dtypes = {"table": "str", **dict.fromkeys(_NAMES[1:], "Int64")}
    tables = rows[_NAMES].iloc[somewhere].astype(dtypes).reset_index(drop=True)
    tables = tables.sort_values([*_NAMES[1:], "table"], na_position="first")
    place = tables.index.to_numpy().argsort()
    label = rows["label"].to_numpy()
    return Surface(
        tables=tables.reset_index(drop=True),
        table=place[code],
        subject=subject,
        image=pd.factorize(rows["image"].to_numpy(), sort=True)[0],
        was_right=rows["undefended"].to_numpy() == label,
        right=rows["predicted"].to_numpy() == label,
        group=pd.factorize(rows["group"], sort=True)[0] if "group" in rows else None,
    )


def complete(surface: Surface, *, partial: bool) -> Bools:
    """Which tables [tables] saw every image of each subject present; raises as `summary`."""
    n_images = int(surface.image.max()) + 1
    seen = np.zeros((len(surface.tables), len(SUBJECTS), n_images), dtype=np.bool_)
    seen[surface.table, surface.subject, surface.image] = True
    if np.count_nonzero(seen) < len(surface.table):
        raise ValueError(_duplicates(surface))
    n_seen, n_all = seen.sum(axis=2), seen.any(axis=0).sum(axis=1)
    full: Bools = (n_seen == n_all).all(axis=1)
    if full.all() or (partial and full.any()):
        return full
    worst = [
        f"{surface.tables.loc[place, 'table']} {n_seen[place, 0]}+{n_seen[place, 1]}"
        for place in np.flatnonzero(~full)[:5]
    ]
    raise ValueError(
        f"expected every table on all {n_all[0]}+{n_all[1]} images (benign+adversarial), found "
        f"{int((~full).sum())} of {len(full)} incomplete: {', '.join(worst)}.\n"
        "Hint: partial=True keeps the tables that all images were asked under; a best-first search "
        "measures no others whole. Any other search: finish it."
    )


def lines_of(surface: Surface, keep: Bools) -> pd.DataFrame:
    """`summary`'s lines for the tables in `keep`, indexed by position in `surface.tables`."""
    shape = (len(surface.tables), len(SUBJECTS), 2, 2)  # .., right undefended, right defended
    key = ((surface.table * 2 + surface.subject) * 2 + surface.was_right) * 2 + surface.right
    n = np.bincount(key, minlength=int(np.prod(shape))).reshape(shape)[keep]
    benign, adv = n[:, 0], n[:, 1]
    lines = surface.tables[keep].assign(
        n_benign=benign.sum(axis=(1, 2)),
        n_benign_right_undefended=benign[:, 1].sum(axis=1),
        n_benign_right=benign[:, :, 1].sum(axis=1),
        n_benign_broken=benign[:, 1, 0],
        n_adv=adv.sum(axis=(1, 2)),
        n_adv_right=adv[:, :, 1].sum(axis=1),
        n_successful=adv[:, 0].sum(axis=1),
        n_successful_right=adv[:, 0, 1],
    )
    _add_share(lines, "acc_benign", "n_benign_right", "n_benign")
    low, high = paired_decline(benign[:, 1, 0], benign[:, 0, 1], lines["n_benign"].to_numpy())
    n_lost = lines["n_benign_right_undefended"] - lines["n_benign_right"]
    lines["acc_dec"] = 100 * n_lost / lines["n_benign"]
    lines["acc_dec_low"], lines["acc_dec_high"] = low, high
    _add_share(lines, "def_all", "n_adv_right", "n_adv")
    _add_share(lines, "def_successful", "n_successful_right", "n_successful")
    return lines


def _add_share(lines: pd.DataFrame, name: str, hits: str, trials: str) -> None:
    """Columns `name`, *_low and *_high in percent, NaN without trials."""
    low, high = wilson(lines[hits].to_numpy(), lines[trials].to_numpy())
    some = lines[trials] > 0
    lines[name] = 100 * lines[hits] / lines[trials]
    lines[f"{name}_low"] = pd.Series(100 * low, index=lines.index).where(some)
    lines[f"{name}_high"] = pd.Series(100 * high, index=lines.index).where(some)


def _duplicates(surface: Surface) -> str:
    keys = pd.DataFrame({"s": surface.subject, "i": surface.image, "t": surface.table})
    again = keys[keys.duplicated()]
    names = surface.tables["table"].iloc[again["t"].unique()[:5]]
    return (
        f"expected one row per subject, image and table, found {len(again)} more, "
        f"of {again['t'].nunique()} tables: {', '.join(names)}.\n"
        "Hint: keep one sweep, data set, model, attack, eps_255, seed and split."
    )


def group_limits(rows: pd.DataFrame, tables: Sequence[str]) -> pd.DataFrame:
    """Limits of MEASURES when groups of images are resampled: a line per table, in that order.

    Columns group_*_low and *_high, as `interval` reads them; NaN where that says nothing.
    """
    seen = rows[rows["table"].isin(tables)]
    benign, adv = (seen[seen["subject"] == subject] for subject in SUBJECTS)
    before = benign.assign(predicted=benign["undefended"], codec="without")
    both = pd.concat([before, benign.assign(codec="with")])
    found = {
        "acc_benign": accuracies(benign, ["table"]),
        "acc_dec": gains(both, "with", "without", ["table"], of="codec"),
        "def_all": accuracies(adv, ["table"]),
        "def_successful": accuracies(adv[adv["undefended"] != adv["label"]], ["table"]),
    }
    limits = pd.DataFrame(index=list(tables))
    for name, lines in found.items():
        own = lines.astype({"table": str}).set_index("table")
        for end in ("low", "high"):
            limits[f"group_{name}_{end}"] = own[f"group_{end}"]
    return limits


def grouped_text(rows: pd.DataFrame, kind: str, called: Mapping[str, str]) -> list[str]:
    """What limits `report_text`'s lines have when groups of images are resampled."""
    adv = rows[rows["table"].isin(list(called)) & (rows["subject"] == "adversarial")]
    note = f"  {group_note(accuracies(adv, ['table']))}"
    if "group" not in rows:
        return [note]
    limits = group_limits(rows, list(called))
    ends = [(f"{name}_low", f"{name}_high") for name in MEASURES]
    cells = {
        name: [braces(line, *end, "5.1f") for end in ends]
        for name, (_, line) in zip(called.values(), limits.iterrows(), strict=True)
    }
    return [*_by_subject({kind: list(MEASURES.values())} | cells), note]


def gained_text(rows: pd.DataFrame, pairs: Mapping[tuple[str, str], str]) -> list[str]:
    """What each pair's second table defends more than its first, by the pair's name."""
    attacked = rows[rows["subject"] == "adversarial"]
    lines = compared(attacked, list(pairs), ["subject"], of="table")
    test = "by groups" if "group" in rows else "McNemar"
    text = [
        f"  Def {called}, same images: {interval(line, 'gain')} points, {test} {chance(line)}"
        for called, (_, line) in zip(pairs.values(), lines.iterrows(), strict=True)
    ]
    return text + [f"  p is Holm's of {len(lines)}"] * (len(lines) > 1)


def verdict(rows: pd.DataFrame, table: str, called: str, under: str) -> str:
    """What a table keeps of held-out images attacked, beside none, and its price: a sentence."""
    lines = summary(rows).set_index("table")
    line = compared(
        rows[rows["subject"] == "adversarial"], [("none", table)], ["subject"], of="table"
    ).iloc[0]
    right = from_to(*(float(lines["def_all"][name]) for name in ("none", table)))
    cost = price(float(lines["acc_dec"][table]))
    return f"{called}: {right} under {under} {cost}, held out, {chance(line)}"


def report_text(lines: pd.DataFrame, kind: str, called: Mapping[str, str]) -> list[str]:
    """The held-out report: lines of `summary` by the name of a `kind`, and what each is called."""
    lines = lines.loc[list(called)]
    cells = {
        name: [measure(line, m) for m in MEASURES]
        for name, (_, line) in zip(called.values(), lines.iterrows(), strict=True)
    }
    counts = [extent(lines[n]) for n in ("n_benign", "n_benign", "n_adv", "n_successful")]
    heads = {kind: list(MEASURES.values())}
    return ["", "held-out report", *_by_subject(heads | cells | {"n": counts})]


def _by_subject(cells: Mapping[str, Sequence[str]]) -> list[str]:
    """What is said of each of MEASURES: those of benign images, and below of adversarial ones."""
    width = max(14, *map(len, cells))
    return [
        f"  {name:<{width}}" + "".join(f"{text:>21}" for text in texts[part])
        for part in (slice(0, 2), slice(2, 4))
        for name, texts in cells.items()
    ]


def measure(line: "pd.Series[float]", name: str) -> str:
    """One of MEASURES with its interval."""
    return interval(line, name, low=f"{name}_low", high=f"{name}_high")
