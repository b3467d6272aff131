"""Which transform of training images makes a network sturdy against corruptions, by three rules.

A setting is one training set, such as jpeg40; a family is all settings of a kind. Of each family a
rule chooses settings by their accuracy on corrupted images: BDA one for all, BDAD one for each
corruption, BDADS one for each corruption and severity. Choices are made on the search split and
reported on held-out images; the source chooses and reports on the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.counts import Counts, Rows, once
from results.stats import Floats, cluster_bootstrap, holm, resampled, sign_flip

RULES = ("BDA", "BDAD", "BDADS")
FAMILIES = (
    *("original", "BLS", "BMHJ", "JPEG", "table", "noise"),
    *("blur", "patch", "AugMix", "joined", "other"),
)
_PATTERNS = {
    "BLS": r"bls\b.*",
    "BMHJ": r"bmhj\b.*",
    "JPEG": r"jpeg\d.*",
    "table": r"(fd|ijg\d|uniform\d|(k\d+|m[0-9a-f]{16})-of\d).*",
    "noise": r"(noise|smooth)\d.*",
    "blur": r"blur\d+",
    "patch": r"patch\d.*",
    "AugMix": r"augmix",
}
CLEAN, ORIGINAL = "none", "none"  # a test's name, and a setting's
N_RESAMPLES = 1000
_BLS = "bls:lambda={}".format
PRINTED_RANKS = {  # table 4.2
    "BLS": tuple(map(_BLS, ("0.012", "0.1", "0.05", "0.033", "0.003", "0.001", "0.005"))),
    "JPEG": tuple(f"jpeg{q}" for q in (80, 20, 60, 10, 40, 5, 1)),
    "noise": tuple(f"noise{s}" for s in ("0.01", "0.05", "0.1", "0.3", "1", "0.8")),
    "blur": ("blur3", "blur5", "blur7", "blur9"),
}
_ORDER = (
    *("gaussian_noise", "gaussian_blur", "speckle_noise", "contrast", "impulse_noise"),
    *("saturate", "brightness", "fog", "frost", "snow"),
)
_BEST = {
    "BLS": "0.05 0.1 0.012 0.1 0.05 0.033 0.033 0.012 0.1 0.033",
    "JPEG": "20 5 20 60 20 80 80 80 80 80",
    "noise": "0.05 0.01 0.05 0.01 0.1 0.01 0.01 0.01 0.01 0.01",
    "blur": "3 3 3 3 3 3 3 3 3 3",
}
_STEMS = {"BLS": "bls:lambda=", "JPEG": "jpeg", "noise": "noise", "blur": "blur"}
PRINTED_BEST = {  # table 4.3
    family: {c: _STEMS[family] + s for c, s in zip(_ORDER, settings.split(), strict=True)}
    for family, settings in _BEST.items()
}


def family_of(setting: str) -> str:
    """Which of FAMILIES a training set belongs to."""
    if setting == ORIGINAL:
        return "original"
    if "+" in setting:
        return "joined"
    found = (name for name, pattern in _PATTERNS.items() if re.fullmatch(pattern, setting))
    return next(found, "other")


@dataclass(frozen=True, eq=False)
class Tested:
    """Right answers on one split, of whole groups of images where these are known."""

    settings: tuple[str, ...]
    tests: tuple[str, ...]  # corruption@severity; images as they are stand apart
    hits: NDArray[np.int64]  # [groups, settings, tests]
    clean: NDArray[np.int64]  # [groups, settings]
    trials: Counts  # [groups], images in each

    @cached_property
    def shares(self) -> Floats:
        """Accuracy of every setting in every test, [settings, tests]."""
        shares: Floats = self.hits.sum(0) / self.trials.sum()
        return shares

    @property
    def corruptions(self) -> list[str]:
        """That of each test."""
        return [test.partition("@")[0] for test in self.tests]

    def resampled(self, seed: int) -> Floats:
        """`shares` of images (or groups) drawn with replacement, [resamples, settings, tests]."""
        flat = self.hits.reshape(len(self.trials), -1)
        drawn = resampled(flat, self.trials, n_resamples=N_RESAMPLES, seed=seed)
        return drawn.reshape(-1, *self.hits.shape[1:])

    def line(self, chosen: NDArray[np.int64], of: NDArray[np.bool_]) -> dict[str, float]:
        """Mean accuracy in percent over some tests, each by its chosen setting; its interval."""
        places = np.flatnonzero(of)
        hits = self.hits[:, chosen[places], places].sum(1)
        return percent(hits, self.trials * len(places))

    def severities(self, chosen: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Accuracy over severity by each test's chosen setting: of the mean, of each corruption."""
        corruptions = np.array(self.corruptions)
        levels = np.array([int(test.partition("@")[2]) for test in self.tests])
        panels = {"mean of all": np.ones(len(levels), dtype=bool)}
        panels |= {name: corruptions == name for name in dict.fromkeys(corruptions.tolist())}
        return [
            {"corruption": panel, "severity": level} | self.line(chosen, of & (levels == level))
            for panel, of in panels.items()
            for level in sorted(set(levels.tolist()))
        ]


def percent(hits: NDArray[np.int64], trials: Counts) -> dict[str, float]:
    """Accuracy, low and high, of right answers and images in each group."""
    low, high = cluster_bootstrap(hits[:, None], trials)
    share = hits.sum() / trials.sum()
    return {"accuracy": 100 * share, "low": 100 * float(low[0]), "high": 100 * float(high[0])}


def gain(change: NDArray[np.int64], trials: Counts) -> dict[str, float]:
    """Points gained, their limits and p, of right answers more [groups, tests] on the same images.

    p by exchange of all that belongs to an image (or group).
    """
    found = percent(change.sum(1), trials * change.shape[1])
    return {"gain": found.pop("accuracy")} | found | {"p": sign_flip(change.sum(1))}


def picked_runs(rows: Rows, split: str) -> dict[str, int]:
    """Of each training set the run that is best on a split's images as they are."""
    own = rows[(rows["split"] == split) & (rows["test"] == CLEAN)]
    right = (own["predicted"] == own["label"]).groupby([own["training"], own["run"]], observed=True)
    best = right.mean().sort_index().groupby(level=0, sort=False, observed=True).idxmax()
    return {str(training): int(run) for training, run in best}


def of_runs(rows: Rows, run_of: Mapping[str, int]) -> Rows:
    """The rows of one run of each training set."""
    kept: Rows = rows[rows["run"].to_numpy() == _mapped(rows["training"], run_of)]
    return kept


def _mapped(column: "pd.Series[str]", values: Mapping[str, int]) -> NDArray[np.int64]:
    """A number for each text, looked up once for each that there is."""
    texts = column.astype("category").cat
    found = np.array([values.get(str(text), -1) for text in texts.categories], dtype=np.int64)
    return found[texts.codes]


def tested(rows: Rows, split: str, settings: Sequence[str], tests: Sequence[str]) -> Tested:
    """Right answers of one run of each training set.

    ValueError where not all met the same images.
    """
    own = once(rows[rows["split"] == split], ["training", "test"])
    whole = [CLEAN, *tests]
    unit = own["group"] if "group" in own else own["image"]
    units, names = pd.factorize(unit, sort=True)
    places = (
        units,
        _mapped(own["training"], {name: i for i, name in enumerate(settings)}),
        _mapped(own["test"], {name: i for i, name in enumerate(whole)}),
    )
    shape = (len(names), len(settings), len(whole))
    met, hits = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    np.add.at(met, places, 1)
    np.add.at(hits, places, (own["predicted"] == own["label"]).to_numpy(dtype=np.int64))
    if (met != met[:, :1, :1]).any():
        raise ValueError(
            "expected every network on the same images in every test, found others.\n"
            "Hint: run the study again; it computes what is missing."
        )
    return Tested(tuple(settings), tuple(tests), hits[:, :, 1:], hits[:, :, 0], met[:, 0, 0])


def choices(shares: Floats, corruptions: Sequence[str], rule: str) -> NDArray[np.int64]:
    """Of settings [..., settings, tests] the best by a rule, for every test [..., tests]."""
    blocks = {"BDA": [0] * len(corruptions), "BDAD": corruptions}
    block = pd.factorize(np.array(blocks.get(rule, range(len(corruptions)))))[0]
    out = np.empty((*shares.shape[:-2], shares.shape[-1]), dtype=np.int64)
    for number in range(block.max() + 1):
        own = block == number
        out[..., own] = shares[..., own].mean(-1).argmax(-1)[..., None]
    return out


@dataclass(frozen=True, eq=False)
class Answered:
    """What is asked of both splits: `search` to choose on, `report` to report on."""

    search: Tested
    report: Tested

    @cached_property
    def families(self) -> Mapping[str, NDArray[np.int64]]:
        """The settings of each family."""
        each = [family_of(setting) for setting in self.search.settings]
        return {f: np.flatnonzero([f == own for own in each]) for f in FAMILIES if f in each}

    @cached_property
    def _drawn(self) -> tuple[Floats, Floats]:
        return self.search.resampled(0), self.report.resampled(1)

    def chosen(self, family: str, rule: str, *, on: str = "search") -> NDArray[np.int64]:
        """A family's setting for each test, by a rule on a split."""
        own, split = self.families[family], getattr(self, on)
        return own[choices(split.shares[own], split.corruptions, rule)]

    def called(self, family: str, rule: str) -> str:
        """A family's name in a legend: with its setting, where a rule chooses one for all."""
        picked = set(self.chosen(family, rule).tolist())
        if len(picked) > 1:
            return f"{family}, {len(picked)} settings"
        return "original" if family == "original" else self.search.settings[picked.pop()]

    def wins(self, family: str, rule: str) -> NDArray[np.int64]:
        """As `chosen` on the search split, for each resample of its images, [resamples, tests]."""
        own = self.families[family]
        return own[choices(self._drawn[0][:, own], self.search.corruptions, rule)]

    def ranking(self) -> Rows:
        """Every setting: mean accuracy over all corruptions, how often BDA chooses it, its rank."""
        lines = []
        everywhere = np.ones(len(self.search.tests), dtype=bool)
        for family, own in self.families.items():
            won = self.wins(family, "BDA")[:, 0]
            order = own[np.argsort(-self.search.shares[own].mean(1), kind="stable")]
            printed = PRINTED_RANKS.get(family, ())
            for rank, i in enumerate(order, start=1):
                setting = self.search.settings[i]
                line = {"family": family, "setting": setting, "rank": rank}
                line["printed"] = printed.index(setting) + 1 if setting in printed else 0
                line["n"] = int(self.report.trials.sum())
                line["search"] = 100 * float(self.search.shares[i].mean())
                line |= self.report.line(np.full(len(everywhere), i), everywhere)
                line["clean"] = 100 * self.report.clean[:, i].sum() / self.report.trials.sum()
                line["wins"] = 100 * float((won == i).mean())
                lines.append(line)
        return pd.DataFrame(lines)

    def best(self, rule: str) -> Rows:
        """Every family and corruption: settings that a rule chooses, and how often it does.

        Of BDADS a line for each severity. `wins`: percent of resamples of the search images.
        """
        lines = []
        corruptions = np.array(self.search.corruptions)
        for family in self.families:
            picked, won = self.chosen(family, rule), self.wins(family, rule)
            for place, test in enumerate(self.search.tests):
                if rule != "BDADS" and corruptions[place] in corruptions[:place]:
                    continue
                setting = self.search.settings[picked[place]]
                name = test if rule == "BDADS" else str(corruptions[place])
                printed = PRINTED_BEST.get(family, {}).get(name, "") if rule == "BDAD" else ""
                share = 100 * float((won[:, place] == picked[place]).mean())
                lines.append({"family": family, "corruption": name, "setting": setting,
                              "wins": share, "printed": printed})  # fmt: skip
        return pd.DataFrame(lines)

    def optimism(self) -> Rows:
        """Every family and rule: mean accuracy chosen on search, and chosen where it is reported.

        `optimism` is the difference in points, its limits 95 % of resamples of both splits;
        `n_sets` how many training sets a rule needs.
        """
        lines = []
        everywhere = np.ones(len(self.search.tests), dtype=bool)
        searched, reported = self._drawn
        places = np.arange(len(everywhere))
        resample = np.arange(len(reported))[:, None]
        for family, own in self.families.items():
            if len(own) < 2:
                continue
            for rule in RULES:
                honest, same = (self.chosen(family, rule, on=s) for s in ("search", "report"))
                line = {"family": family, "rule": rule, "n_sets": len(set(honest.tolist()))}
                told = self.report.line(honest, everywhere)
                best = self.report.line(same, everywhere)["accuracy"]
                line |= {"n": int(self.report.trials.sum()), **told, "same": best}
                line["optimism"] = best - told["accuracy"]
                gained = np.zeros(len(reported))
                for sign, shares in ((1, reported), (-1, searched)):
                    pick = own[choices(shares[:, own], self.search.corruptions, rule)]
                    gained += sign * reported[resample, pick, places].mean(1)
                low, high = np.quantile(100 * gained, [0.025, 0.975])
                lines.append(line | {"optimism_low": float(low), "optimism_high": float(high)})
        return pd.DataFrame(lines)

    def gains(self) -> Rows:
        """Each family's BDA setting against originals on each corruption, all severities together.

        In points, on the same images; p by exchange of all that belongs to an image (or group),
        corrected for as many lines as there are (Holm). Empty without originals.
        """
        lines = []
        names = np.array(self.report.corruptions)
        for family in [f for f in self.families if f != "original"] * ("original" in self.families):
            picked = self.chosen(family, "BDA")[0]
            plain = int(self.families["original"][0])
            change = self.report.hits[:, picked] - self.report.hits[:, plain]
            for corruption in dict.fromkeys(names.tolist()):
                line = {"family": family, "setting": self.report.settings[picked]}
                line |= {"corruption": corruption, "n": int(self.report.trials.sum())}
                own = change[:, names == corruption]
                lines.append(line | gain(own, self.report.trials))
        if not lines:
            return pd.DataFrame()
        return pd.DataFrame(lines).assign(p=holm([line["p"] for line in lines]))

    def severities(self, rule: str) -> Rows:
        """Accuracy over severity for each family by a rule: of the mean, and of each corruption."""
        lines = []
        for family in self.families:
            chosen = self.chosen(family, rule)
            lines += [{"family": family} | line for line in self.report.severities(chosen)]
        return pd.DataFrame(lines)


def answered(rows: Rows, settings: Sequence[str], tests: Sequence[str]) -> Answered:
    """Both splits, of each training set the run that is best on clean search images."""
    own = of_runs(rows, picked_runs(rows, "search"))
    return Answered(*(tested(own, split, settings, tests) for split in ("search", "report")))


def runs_bias(rows: Rows) -> str:
    """How much better clean held-out images come out where the best run is picked on them."""
    if rows["run"].nunique() < 2:
        return ""
    clean = {}
    for split in ("search", "report"):
        own = of_runs(rows, picked_runs(rows, split))
        own = own[(own["split"] == "report") & (own["test"] == CLEAN)]
        clean[split] = 100 * (own["predicted"] == own["label"]).mean()
    return (
        f"of {rows['run'].nunique()} runs the best on clean search images has "
        f"{clean['search']:.2f} % of clean held-out ones; picked on these, as the source does, "
        f"{clean['report']:.2f} %"
    )
