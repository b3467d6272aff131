"""Intervals for counts of right answers: one proportion, or two on the same images.

- one accuracy: Wilson's score interval (`wilson`);
- a table's loss against no codec, from three counts: Tango's score interval (`paired_decline`);
- a mean, such as that of differences on the same images (`mean_interval`);
- many tables against one, from the outcome of every image: bootstrap (`paired_difference`);
- images that come in groups, such as crops of one photograph: bootstrap of whole groups
  (`cluster_bootstrap`), and the exact test that flips whole groups (`sign_flip`).

`level` is the two-sided confidence, between 0 and 1.
"""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_BISECTIONS = 60  # halvings of a length of at most 2: past float64's resolution
_CHUNK = 4_000_000  # resampled image indices in memory at a time (32 MB)


def wilson(
    n_hits: ArrayLike, n_trials: ArrayLike, *, level: float = 0.95, times: ArrayLike = 1
) -> tuple[Floats, Floats]:
    """Wilson's score interval for a proportion, without continuity correction.

    `n_hits` of `n_trials`, integers of any shapes that broadcast; 0 trials give (0, 1). `times`:
    every image was tried so often; the interval is that of one trial an image, which the mean of
    several cannot exceed in variance. Lower and upper limits as fractions in [0, 1]. ValueError
    unless integers with 0 <= n_hits <= n_trials.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927) 209-212; Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3.
    """
    hits, trials = _counts(n_hits=n_hits, n_trials=n_trials)
    _check_order(hits >= 0, hits <= trials, text="0 <= n_hits <= n_trials")
    z2 = _quantile(level) ** 2 * np.asarray(times)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 trials, set below
        centre = (hits + z2 / 2) / (trials + z2)
        half = np.sqrt(z2 * (hits * (trials - hits) / trials + z2 / 4)) / (trials + z2)
    # With nothing but hits the upper limit is 1; the sum may miss it by a rounding.
    low = np.where(trials == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where((trials == 0) | (hits == trials), 1.0, np.clip(centre + half, 0, 1))
    return low, high


def share_difference(
    n_hits: int, n_trials: int, n_others: int, n_other_trials: int, *, level: float = 0.95
) -> tuple[float, float]:
    """Newcombe's hybrid score interval for one proportion minus another, of other images.

    `n_hits` of `n_trials` minus `n_others` of `n_other_trials`, both of at least 1 trial. Lower
    and upper limits as fractions in [-1, 1].

    Source: R. G. Newcombe, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17 (1998) 873-890, method 10.
    """
    both = wilson([n_hits, n_others], [n_trials, n_other_trials], level=level)
    (low, other_low), (high, other_high) = both
    share, other = n_hits / n_trials, n_others / n_other_trials
    below = np.hypot(share - low, other_high - other)
    above = np.hypot(high - share, other - other_low)
    return float(share - other - below), float(share - other + above)


def paired_decline(
    n_broken: ArrayLike,
    n_repaired: ArrayLike,
    n_images: ArrayLike,
    *,
    level: float = 0.95,
    times: ArrayLike = 1,
) -> tuple[Floats, Floats]:
    """Tango's score interval for an accuracy lost on the same images, in percentage points.

    The decline is `100 * (n_broken - n_repaired) / n_images`. A score interval, not the
    bootstrap: weak tables change no image at all, where every resample agrees and the bootstrap
    claims certainty. Nor exact: the exact unconditional interval maximises over a nuisance
    parameter for each table, for little at hundreds of images. And three counts are enough,
    so it costs the same for 35 million rows. It excludes 0 exactly if McNemar's test rejects.

    `n_broken` images were right before and wrong after, `n_repaired` wrong before and right after,
    of all `n_images`; integers of any shapes that broadcast; `times` as in `wilson`.
    Lower and upper limits in percentage points, in [-100, 100]; positive is a loss, NaN stands for
    no images. ValueError where counts are no integers, negative, or sum to more than `n_images`.

    Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions
    for the paired-sample design", Statistics in Medicine 17 (1998) 891-908.
    """
    broken, repaired, images = _counts(n_broken=n_broken, n_repaired=n_repaired, n_images=n_images)
    text = "n_broken, n_repaired >= 0 and n_broken + n_repaired <= n_images"
    _check_order((broken >= 0) & (repaired >= 0), broken + repaired <= images, text=text)
    z2 = _quantile(level) ** 2 * np.asarray(times)
    low = -_tango_upper(repaired, broken, images, z2)
    high = _tango_upper(broken, repaired, images, z2)
    empty = images == 0
    return np.where(empty, np.nan, 100 * low), np.where(empty, np.nan, 100 * high)


def mcnemar(won: int, lost: int) -> float:
    """The exact two-sided p-value that as many pairs change one way as the other.

    Source: McNemar (1947); exact: Edwards (1948). It is the sign test of the pairs that differ.
    """
    n = won + lost
    tail = sum(math.comb(n, k) for k in range(min(won, lost) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def sign_flip(differences: NDArray[np.int64]) -> float:
    """McNemar's exact test where images come in groups; two-sided p-value.

    `differences` [groups]: images won minus lost in each. Where two defences are worth the same,
    they might change places in any group: of all 2^groups ways, the share whose sum is as far from
    0. Groups of one image give `mcnemar`.

    Source: exchange of whole blocks, as in Winkler et al., "Multi-level block permutation",
    NeuroImage 123 (2015) 253-268; all ways are counted, by convolution.
    """
    changed = np.abs(differences[differences != 0])
    reach = int(changed.sum())
    share = np.zeros(2 * reach + 1)  # of the ways that give each sum, from -reach to reach
    share[reach] = 1.0
    for n in changed:  # a group of n moves every sum by n, one way or the other
        share = (np.roll(share, n) + np.roll(share, -n)) / 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(differences.sum()))
    return float(min(1.0, share[far].sum()))


def holm(p: ArrayLike) -> Floats:
    """Holm's p-values for as many tests at once [tests]: below 0.05 errs once in 20 families.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6 (1979) 65-70.
    """
    values = np.asarray(p, dtype=np.float64)
    order = values.argsort()
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    out = np.empty_like(values)
    out[order] = np.minimum(stepped, 1)
    return out


def cluster_bootstrap(
    hits: NDArray[np.int64],
    trials: NDArray[np.int64],
    *,
    level: float = 0.95,
    n_resamples: int = 2_000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Bootstrap over groups of images: expanded percentile interval of sum(hits) / sum(trials).

    `hits` [groups, lines] may be differences, hence negative; `trials` [groups] images in each,
    at least 1. Limits [lines] as fractions. NaN where resampling says nothing, for it would claim
    certainty: fewer than two groups, or all groups alike. The order in which groups come does not
    matter: what they count is sorted first. A percentile interval of few groups is too short;
    expanded, it is as wide as Student's t would have it. With fewer than some 30 groups
    its own limits are uncertain (Cameron, Gelbach and Miller 2008).

    Source: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), 3.8, groups as
    units; expanded: Hesterberg, "What Teachers Should Know About the Bootstrap", The American
    Statistician 69 (2015) 371-386, 4.3.
    """
    if len(trials) < 2:
        nothing = np.full(hits.shape[1], np.nan)
        return nothing, nothing
    order = np.lexsort((*hits.T, trials))
    hits, trials = hits[order], trials[order]
    low, high = _resampled(hits, trials, _expanded_tail(level, len(trials)), n_resamples, seed)
    alike = np.ptp(hits / trials[:, None], axis=0) == 0
    return np.where(alike, np.nan, low), np.where(alike, np.nan, high)


def design_effect(hits: NDArray[np.int64], trials: NDArray[np.int64]) -> float:
    """How many times the variance of independent images a share of grouped images has.

    `hits` and `trials` [groups]; NaN where no or all trials hit, or for fewer than two groups. So
    many grouped images are worth one independent image.

    Source: Kish, "Survey Sampling" (1965), 8.2; the groups' variance linearised, as in Rao and
    Scott, Biometrics 48 (1992) 577-585.
    """
    n_groups, n, share = len(trials), trials.sum(), hits.sum() / trials.sum()
    if n_groups < 2 or share in (0, 1):
        return math.nan
    between = np.square(hits - share * trials).sum() * n_groups / (n_groups - 1) / n**2
    return float(between / (share * (1 - share) / n))


def mean_interval(
    values: ArrayLike, *, level: float = 0.95, few: bool = False
) -> tuple[float, float, float]:
    """The mean of at least 2 independent values, and the limits of its interval.

    By the normal distribution, so for tens of values or more; `few`: by Student's, from 3 on. Of
    differences it is the paired interval.
    """
    numbers = np.asarray(values, dtype=np.float64)
    quantile = _student(level, len(numbers) - 1) if few else _quantile(level)
    half = quantile * numbers.std(ddof=1) / math.sqrt(len(numbers))
    mean = float(numbers.mean())
    return mean, float(mean - half), float(mean + half)


def slope_interval(
    x: ArrayLike, y: ArrayLike, *, level: float = 0.95
) -> tuple[float, float, float]:
    """The slope of the line of least squares through 4 points or more, and Student's limits."""
    values = (np.asarray(v, dtype=np.float64) for v in (x, y))
    across, up = (v - v.mean() for v in values)
    slope = float(across @ up / (across @ across))
    n = len(across) - 2
    error = math.sqrt(np.square(up - slope * across).sum() / n / (across @ across))
    half = _student(level, n) * error
    return slope, slope - half, slope + half


def paired_difference(
    correct: NDArray[np.bool_],
    reference: int,
    *,
    groups: NDArray[np.int64] | None = None,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Percentile bootstrap over images of each table's accuracy minus the reference's.

    Each resample draws images with replacement, the same draw for all tables: a resample is a
    row of how often each image was drawn, and all tables are one matrix product. Intervals hold
    one table at a time, not for all tables together.

    `correct` says, [images, tables], whether the table got the image right; `reference` is the
    column to compare with, its own interval is [0, 0]. `groups` [images] numbers each
    image's, from 0 on without a gap: whole groups are drawn, as by `cluster_bootstrap`. Lower and
    upper limits, [tables], in percentage points; same seed, same intervals. ValueError where there
    are no images, `correct` is no boolean matrix, or has no such column.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), 13.3.
    """
    if correct.ndim != 2 or correct.dtype != np.bool_ or not len(correct):
        raise ValueError(
            f"correct must be boolean [images, tables] with at least one image, "
            f"found {correct.dtype} {list(correct.shape)}.\n"
            "Hint: compare predictions with labels: predicted == label."
        )
    n_images, n_tables = correct.shape
    if not 0 <= reference < n_tables:
        raise ValueError(
            f"reference must be a column of correct, 0..{n_tables - 1}, found {reference}.\n"
            "Hint: it is a position, not a table name."
        )
    _check_level(level)
    gain = correct.astype(np.float32) - correct[:, [reference]].astype(np.float32)
    trials, tail = np.ones(n_images, dtype=np.int64), (1 - level) / 2
    if groups is not None:
        trials = np.bincount(groups)
        gain = np.add.reduceat(gain[groups.argsort()], trials.cumsum() - trials)
        tail = _expanded_tail(level, len(trials)) if len(trials) > 1 else tail
    low, high = _resampled(gain, trials, tail, n_resamples, seed)
    return 100 * low, 100 * high


def _resampled(
    hits: NDArray[np.generic], trials: Counts, tail: float, n_resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Quantiles `tail` and 1 - `tail` of `resampled`."""
    shares = resampled(hits, trials, n_resamples=n_resamples, seed=seed)
    low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
    return low, high


def resampled(
    hits: NDArray[np.generic], trials: Counts, *, n_resamples: int = 2_000, seed: int = 0
) -> Floats:
    """sum(hits) / sum(trials) of rows drawn with replacement, [resamples, lines].

    `hits` [rows, lines], `trials` [rows]; of one seed and number of rows, the same draws each time.
    """
    # float32 counts exactly up to 2^24 images, and the product is what takes the time.
    values, sizes = hits.astype(np.float32), trials.astype(np.float32)
    resamples = _resamples(len(trials), n_resamples, np.random.default_rng(seed))
    parts = [(drawn @ values, drawn @ sizes) for drawn in resamples]
    sums, n = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    shares: Floats = sums / n[:, None]
    return shares


def _expanded_tail(level: float, n_groups: int) -> float:
    """What to cut off on each side so that normal percentiles are as wide as Student's interval."""
    n = n_groups - 1
    return NormalDist().cdf(-_student(level, n) * math.sqrt(n_groups / n))


def _student(level: float, n: int) -> float:
    """Student's two-sided quantile of `n` degrees of freedom, from 2 on.

    Source: Abramowitz and Stegun (1964), 26.7.5.
    """
    z = _quantile(level)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum((term / n**power for power, term in enumerate(terms, start=1)), 0.0)


def _resamples(
    n_images: int, n_resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """How often each resample drew each image, [resamples, images] in chunks."""
    per_chunk = max(1, _CHUNK // n_images)
    for start in range(0, n_resamples, per_chunk):
        n_here = min(per_chunk, n_resamples - start)
        drawn = rng.integers(n_images, size=(n_here, n_images))
        drawn += n_images * np.arange(n_here)[:, None]  # one range of numbers per resample
        times = np.bincount(drawn.ravel(), minlength=n_here * n_images)
        yield times.reshape(n_here, n_images).astype(np.float32)


def _tango_upper(b: Counts, c: Counts, n: Counts, z2: float | Floats) -> Floats:
    """The largest difference whose score test keeps (b - c) / n, by bisection; fractions."""
    inside = (b - c) / np.maximum(n, 1)
    outside = np.ones_like(inside)
    for _ in range(_BISECTIONS):
        delta = (inside + outside) / 2
        # The share of c-pairs that is likeliest given this difference: a root of a quadratic.
        linear = -b - c + (2 * n - b + c) * delta
        root = np.sqrt(np.maximum(linear**2 + 8 * n * c * delta * (1 - delta), 0))
        share = np.maximum(root - linear, 0) / np.maximum(4 * n, 1)
        variance = n * np.maximum(2 * share + delta * (1 - delta), 0)
        kept = (b - c - n * delta) ** 2 <= z2 * variance
        inside, outside = np.where(kept, delta, inside), np.where(kept, outside, delta)
    return inside


def _counts(**named: ArrayLike) -> tuple[Counts, ...]:
    arrays = {name: np.asarray(values) for name, values in named.items()}
    for name, values in arrays.items():
        if values.dtype.kind not in "iu":
            raise ValueError(
                f"{name} must be integers, found {values.dtype}.\n"
                "Hint: intervals need counts; pass how many, not the share."
            )
    return tuple(np.broadcast_arrays(*(values.astype(np.int64) for values in arrays.values())))


def _check_order(*conditions: NDArray[np.bool_], text: str) -> None:
    n_bad = int(np.sum(~np.logical_and.reduce(conditions)))
    if n_bad:
        raise ValueError(
            f"expected {text}, found {n_bad} of {conditions[0].size} entries that break it.\n"
            "Hint: hits first, then all trials."
        )


def _quantile(level: float) -> float:
    _check_level(level)
    return NormalDist().inv_cdf((1 + level) / 2)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(
            f"level must lie between 0 and 1, found {level}.\nHint: 95 % is level=0.95."
        )
