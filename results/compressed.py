"""What a classifier loses when it is trained on transformed images, and whether it can be smaller.

"Last" is a run's last epoch; "best" the best epoch of the best run on the test images themselves,
which is how the source picks, and flatters.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from results.counts import Rows
from results.robust import ORIGINAL, family_of, gain
from results.stats import holm, slope_interval
from results.words import chance, moved, text_table

SOURCE_HEADER_BITS = 128  # from the SOS marker to the end of the file, which the source counts too
TESTS = {"original": "as they are", "same": "transformed as in training"}
TOPS = {"top-1": "n_correct", "top-5": "n_correct_top5"}


def quality(rows: Rows) -> Rows:
    """Of each transform's training images: mean PSNR, SSIM and bits per pixel; nan where none is.

    `rows` are those of transformed images, with `side`. PSNR is a mean over images that changed.
    """
    rows = rows.assign(
        psnr=-10 * np.log10((rows["sse"] / rows["n_values"]).where(rows["sse"] > 0)),
        bpp=rows["bits"].astype(float) / rows["side"] ** 2,
        ssim=rows["ssim"].astype(float),
    )
    by = rows.groupby("transform", sort=False, observed=True)
    found = by.agg(psnr=("psnr", "mean"), ssim=("ssim", "mean"), bpp=("bpp", "mean"))
    side = rows["side"].iloc[0] if len(rows) else 1
    jpeg = found.index.map(family_of) == "JPEG"  # a learned codec's string has no header
    marked = (found["bpp"] + SOURCE_HEADER_BITS / side**2).where(jpeg)
    return found.assign(bpp_source=marked).reset_index()


def counted(epochs: Rows, *, top: str = "top-1") -> Rows:
    """A line for each network, training set and kind of test images, in percent of held-out images.

    `last`, `low`, `high`: mean, least and most of the runs' last epochs; `best` as the source's.
    """
    told = epochs[epochs["split"] == "report"]
    share = 100 * told[TOPS[top]] / told["n_images"]
    told = told.assign(share=share)
    by = ["network", "training", "test"]
    last = told[told["epoch"] == told["epoch"].max()].groupby(by, sort=False, observed=True)
    found = last["share"].agg(["mean", "min", "max", "size"])
    found = found.set_axis(["last", "low", "high", "runs"], axis=1)
    best = told.groupby(by, sort=False, observed=True)["share"].max().rename("best")
    found = found.join(best).join(last["n_images"].first().rename("n")).reset_index()
    lines: Rows = found.astype(dict.fromkeys(by, str))
    return lines


def changed(lines: Rows, test: str) -> Rows:
    """Percent change of accuracy against the first network, for each training set.

    `test`: "original" for images as they are, "same" for those transformed as in training.
    """
    own = tested_on(lines, test)
    first = own["network"].iloc[0]
    base = own[own["network"] == first].set_index("training")["last"]
    before = own["training"].map(base)
    return own.assign(change=100 * (own["last"] - before) / before)


def tested_on(lines: Rows, test: str) -> Rows:
    """Lines of images as they are ("original") or as in training ("same"); of none they are one."""
    same = lines["test"] == lines["training"]
    return lines[same if test == "same" else lines["test"] == ORIGINAL]


def fits(lines: Rows, measured: Rows) -> Rows:
    """Points of accuracy for each doubling of the rate, of each network and family.

    Images as they are; the line of least squares over log2 of bits per pixel, Student's limits.
    Families of fewer than four rates have none.
    """
    own = tested_on(lines, "original").merge(measured, left_on="training", right_on="transform")
    own = own.assign(family=own["training"].map(family_of)).dropna(subset=["bpp"])
    found = []
    for (network, family), each in own.groupby(["network", "family"], sort=False):
        if len(each) > 3:
            gain, low, high = slope_interval(np.log2(each["bpp"]), each["last"])
            line = {"network": network, "family": family, "n": len(each)}
            found.append(line | {"gain": gain, "low": low, "high": high})
    return pd.DataFrame(found)


def gains(rows: Rows, networks: Sequence[str], sets: Sequence[str]) -> Rows:
    """Points gained over originals, for each network and training set, all runs together.

    On the same images; p by exchange of all that belongs to an image (or group), corrected for as
    many lines as there are (Holm).
    """
    right = rows.assign(right=(rows["predicted"] == rows["label"]).astype(np.int64))
    unit = "group" if "group" in rows else "image"
    counts = right.groupby(["network", "training", unit], sort=False, observed=True)["right"]
    hits, trials = counts.sum(), counts.size()
    lines = []
    for network, training in itertools.product(networks, [s for s in sets if s != ORIGINAL]):
        own = hits.xs((network, training))
        change = (own - hits.xs((network, ORIGINAL))).reindex(own.index).to_numpy(dtype=np.int64)
        n = np.asarray(trials.xs((network, training)), dtype=np.int64)
        line = {"network": network, "training": training, "n": len(own)}
        lines.append(line | gain(change[:, None], n))
    found = pd.DataFrame(lines)
    return found.assign(p=holm(found["p"])) if lines else found


def text(lines: Rows, fives: Rows, measured: Rows, gained: Rows) -> str:
    """Every network on every set; rates and distances; differences from originals."""
    n, runs = lines["n"].iloc[0], lines["runs"].iloc[0]
    best = "best epoch of the best run, picked on these images, as the source does"
    last = f"mean of {runs} last epochs [least, most]" if runs > 1 else "the last epoch"
    said = [f"accuracy of {n:,} held-out images, {last}; {best}"]
    tops = {"": lines}
    if (fives["last"] < 100).any():
        tops[", among the first five"] = fives
    for test, what in TESTS.items():
        for name, counts in tops.items():
            own = tested_on(counts, test)
            if (own["training"] != ORIGINAL).any():
                said += [f"tested on images {what}{name}"]
                said += [text_table(own, "training", "network", cell=_accuracy)]
    if not measured.empty:
        said += ["training images: PSNR, SSIM, bits per pixel (JPEG's scan; and 16 bytes more)"]
        said += [_quality(line) for _, line in measured.iterrows()]
        said += [
            f"{line['network']}, {line['family']}: {line['gain']:+.2f} points for each doubling of "
            f"the rate [{line['low']:+.2f}, {line['high']:+.2f}, Student, {line['n']} rates]"
            for _, line in fits(lines, measured).iterrows()
        ]
    if not gained.empty:
        said += [
            f"points gained over originals as training images, all runs (Holm's of {len(gained)})",
            text_table(gained, "training", "network", cell=moved),
        ]
    return "\n".join(said)


def verdict(lines: Rows, gained: Rows, test: str) -> str:
    """What the best and the worst training set give beside originals, of the first network.

    Of a `test` on images as in training ("same"): what the last network loses against the first.
    """
    own = tested_on(lines, "original")
    own = own[own["network"] == own["network"].iloc[0]].set_index("training")["last"]
    ranked = own.drop(ORIGINAL).sort_values(kind="stable")
    if test == "same" or ranked.empty:
        return _thinner(changed(lines, "same"))
    said = [f"originals {own[ORIGINAL]:.1f} % right"]
    for name, place in {"best": -1, "worst": 0}.items() if len(ranked) > 1 else [("", 0)]:
        training = ranked.index[place]
        line = gained[(gained["training"] == training)].iloc[0]
        said.append(f"{name} {training} {ranked[training]:.1f} % ({chance(line)})".lstrip())
    return f"{lines['network'].iloc[0]} trained on: {', '.join(said)}; Holm's of {len(gained)}"


def _thinner(lines: Rows) -> str:
    first, last = lines["network"].iloc[[0, -1]]
    own = lines[lines["network"] == last]
    said = [
        f"{line['training']} {line['last']:.1f} % right"
        + f" ({line['change']:+.1f} %)" * (last != first)
        for _, line in own.iterrows()
    ]
    place = f" in place of {first}" * (last != first)
    return f"{last}{place}, tested on images as in training: {', '.join(said)}"


def _accuracy(line: Any) -> str:
    runs = f" [{line['low']:.1f}, {line['high']:.1f}]" if line["runs"] > 1 else ""
    return f"{line['last']:.1f}{runs}; {line['best']:.1f}"


def _quality(line: Any) -> str:
    ssim = "" if np.isnan(line["ssim"]) else f"  SSIM {line['ssim']:.3f}"
    rate = ""
    if not np.isnan(line["bpp"]):
        marked = "" if np.isnan(line["bpp_source"]) else f" ({line['bpp_source']:.2f})"
        rate = f"  {line['bpp']:.2f} bpp{marked}"
    return f"  {line['transform']:<17}{line['psnr']:6.2f} dB{ssim}{rate}"
