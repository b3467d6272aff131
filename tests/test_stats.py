"""Intervals against published values, SciPy, a numerical likelihood and a plain loop."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binomtest, bootstrap, norm, t

from results import stats
from results.stats import (
    cluster_bootstrap,
    design_effect,
    holm,
    mcnemar,
    paired_decline,
    paired_difference,
    sign_flip,
    wilson,
)

Z = norm.ppf(0.975)


@st.composite
def pairs(draw):
    """(broken, repaired, images) of one paired comparison."""
    n = draw(st.integers(1, 400))
    b = draw(st.integers(0, n))
    return b, draw(st.integers(0, n - b)), n


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)],
)
def test_wilson_gives_newcombes_table_1(hits, trials, low, high):
    # Statistics in Medicine 17 (1998) 857, table I, method 3: printed with four decimals.
    assert np.round(wilson(hits, trials), 4).tolist() == [low, high]


@given(
    trials=st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    share=st.floats(0, 1),
    level=st.floats(0.01, 0.999),
)
def test_wilson_is_scipys_for_whole_arrays(trials, share, level):
    hits = [round(share * n) for n in trials]
    ours = np.transpose(wilson(hits, trials, level=level))
    theirs = [
        binomtest(x, n).proportion_ci(level, method="wilson")
        for x, n in zip(hits, trials, strict=True)
    ]
    # Both are a dozen float64 operations on numbers of order 1 from the same formula.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_wilson_without_trials_knows_nothing_and_ends_meet_0_and_1_exactly():
    low, high = wilson(0, 0)
    assert (low, high) == (0, 1)
    trials = np.arange(1, 2000)
    assert (wilson(0 * trials, trials)[0] == 0).all()
    assert (wilson(trials, trials)[1] == 1).all()


def tango_statistic(delta, b, c, n):
    """Tango's score with the share of c-pairs found by maximising the likelihood numerically."""

    def minus_log_likelihood(share):
        cells = [(b, share + delta), (c, share), (n - b - c, 1 - 2 * share - delta)]
        return -sum(count * np.log(max(p, 1e-300)) for count, p in cells if count)

    ends = (max(0.0, -delta), (1 - delta) / 2)
    share = minimize_scalar(minus_log_likelihood, bounds=ends, method="bounded",
                            options={"xatol": 1e-12}).x  # fmt: skip
    return (b - c - n * delta) / np.sqrt(n * (2 * share + delta * (1 - delta)))


@pytest.mark.parametrize("counts", [(7, 1, 21), (40, 20, 160), (3, 0, 600), (0, 9, 200)])
def test_decline_inverts_the_score_test_of_a_numerical_likelihood(counts):
    b, c, n = counts
    low, high = paired_decline(b, c, n)
    middle, end = (b - c) / n, 1 - 1e-9
    expected_low = brentq(lambda d: tango_statistic(d, b, c, n) - Z, -end, middle)
    expected_high = brentq(lambda d: tango_statistic(d, b, c, n) + Z, middle, end)
    # Points; the bounded minimiser finds the share to about 1e-8 (root of float64's epsilon).
    assert (low, high) == pytest.approx((100 * expected_low, 100 * expected_high), abs=1e-4)


@given(pairs())
def test_decline_excludes_0_exactly_if_mcnemar_rejects(counts):
    b, c, n = counts
    low, high = paired_decline(b, c, n)
    distance = (b - c) ** 2 - Z**2 * (b + c)
    if abs(distance) > 1e-6:  # at the very edge the last bit decides
        assert ((low <= 0) & (high >= 0)) == (distance < 0)
    assert low <= 100 * (b - c) / n <= high


@given(pairs())
def test_decline_turns_its_sign_with_the_roles(counts):
    b, c, n = counts
    (low, high), (low2, high2) = paired_decline(b, c, n), paired_decline(c, b, n)
    assert (low, high) == (-high2, -low2)


def test_intervals_of_images_tried_several_times_are_those_of_one_trial_each():
    hits, trials = np.array([0, 3, 7, 10]), np.full(4, 10)
    for once, often in zip(
        wilson(hits, trials), wilson(6 * hits, 6 * trials, times=6), strict=True
    ):
        np.testing.assert_allclose(often, once, atol=1e-12)
    lost, won = np.array([0, 1, 4, 2]), np.array([0, 3, 0, 2])
    pairs = paired_decline(lost, won, trials), paired_decline(6 * lost, 6 * won, 60, times=6)
    np.testing.assert_allclose(*pairs, atol=1e-9)


def test_no_change_is_not_certainty_and_no_image_is_nan():
    # With b = c = 0 the test keeps d where n d^2 <= z^2 d (1 - d), hence d <= z^2 / (n + z^2).
    low, high = paired_decline([0, 0], [0, 0], [600, 0])
    edge = 100 * Z**2 / (600 + Z**2)
    assert (low[0], high[0]) == pytest.approx((-edge, edge), rel=1e-9)
    assert np.isnan([low[1], high[1]]).all()


def loop(correct, reference, n_resamples, seed):
    """The bootstrap as one would explain it: draw images, score both tables, subtract."""
    n = len(correct)
    draws = np.random.default_rng(seed).integers(n, size=(n_resamples, n))
    low, high = [], []
    for table in range(correct.shape[1]):
        differences = []
        for drawn in draws:
            hits = sum(int(correct[i, table]) for i in drawn)
            reference_hits = sum(int(correct[i, reference]) for i in drawn)
            differences.append(100 * (hits - reference_hits) / n)
        low.append(np.quantile(differences, 0.025))
        high.append(np.quantile(differences, 0.975))
    return low, high


def test_bootstrap_is_the_plain_loop():
    rng = np.random.default_rng(3)
    correct = rng.random((23, 4)) < [0.5, 0.6, 0.9, 0.5]
    ours = paired_difference(correct, 2, n_resamples=300, seed=7)
    # Whole images in both; only the division by n may differ in the last bit.
    np.testing.assert_allclose(ours, loop(correct, 2, 300, 7), rtol=0, atol=1e-10)
    assert (ours[0][2], ours[1][2]) == (0, 0)


def test_bootstrap_in_chunks_draws_every_resample(monkeypatch):
    correct = np.random.default_rng(0).random((50, 3)) < 0.7
    whole = paired_difference(correct, 0, n_resamples=401)
    monkeypatch.setattr(stats, "_CHUNK", 500)  # ten resamples at a time, one in the last
    np.testing.assert_array_equal(whole, paired_difference(correct, 0, n_resamples=401))
    sizes = [len(part) for part in stats._resamples(50, 401, np.random.default_rng(0))]
    assert sizes == [10] * 40 + [1]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_bootstrap_spreads_as_the_multinomial_says(seed):
    # 10 images gained and 4 lost of 100: sd of the difference is sqrt(14 - 6^2 / 100) points.
    correct = np.zeros((100, 2), dtype=bool)
    correct[:10, 1] = correct[10:14, 0] = True
    low, high = paired_difference(correct, 0, seed=seed)
    sd = np.sqrt(14 - 36 / 100)
    # Quantiles of 10,000 draws on a lattice of whole points: one point either way.
    assert low[1] == pytest.approx(6 - Z * sd, abs=1.01)
    assert high[1] == pytest.approx(6 + Z * sd, abs=1.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "0 <= n_hits <= n_trials"),
        (lambda: wilson(-1, 2), "0 <= n_hits <= n_trials"),
        (lambda: wilson(0.5, 2), "n_hits must be integers, found float64"),
        (lambda: wilson(1, 2, level=95), "level must lie between 0 and 1, found 95"),
        (lambda: paired_decline(3, 3, 5), "n_broken"),
        (lambda: paired_difference(np.ones((3, 2)), 0), r"found float64 \[3, 2\]"),
        (lambda: paired_difference(np.ones((0, 2), dtype=bool), 0), "at least one image"),
        (lambda: paired_difference(np.ones((3, 2), dtype=bool), 2), "0..1, found 2"),
        (lambda: paired_difference(np.ones((3, 2), dtype=bool), 0, level=1), "found 1"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "Hint:" in str(error.value)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (3, 0), (5, 9), (12, 12), (0, 40), (700, 640)])
def test_mcnemar_is_the_exact_sign_test(won, lost):
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9)


def test_bootstrap_of_groups_is_scipys_of_their_means():
    hits = np.random.default_rng(5).binomial(12, np.linspace(0.2, 0.9, 25))
    expanded = 2 * norm.cdf(t.ppf(0.975, 24) * np.sqrt(25 / 24)) - 1  # Hesterberg (2015), 4.3
    theirs = bootstrap(
        (hits / 12,), np.mean, method="percentile", n_resamples=20_000, vectorized=True,
        confidence_level=expanded, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    low, high = cluster_bootstrap(hits[:, None], np.full(25, 12), n_resamples=20_000)
    # Two sets of 20,000 draws: a quantile at 1.8 % is known to 0.15 points and lies in the lattice.
    assert (low[0], high[0]) == pytest.approx(tuple(theirs), abs=0.006)


def test_bootstrap_of_images_that_are_their_own_groups_is_nearly_the_binomial():
    hits = np.arange(800) < 560
    low, high = cluster_bootstrap(hits[:, None].astype(int), np.ones(800, dtype=int))
    assert (low[0], high[0]) == pytest.approx(tuple(map(float, wilson(560, 800))), abs=0.006)
    assert design_effect(hits.astype(int), np.ones(800, dtype=int)) == pytest.approx(800 / 799)


@pytest.mark.parametrize("n_groups", [10, 86])
def test_bootstrap_of_groups_holds_the_truth_as_often_as_it_says(n_groups):
    rng, share, within = np.random.default_rng(0), 0.6, 0.2  # share, and correlation within a group
    ab = np.array([share, 1 - share]) * (1 - within) / within
    sizes = np.full(n_groups, 15)
    hits = rng.binomial(15, rng.beta(*ab, size=(400, n_groups))).T
    low, high = cluster_bootstrap(hits, sizes, n_resamples=1000)
    held = ((low <= share) & (share <= high)).mean()
    assert 0.915 <= held <= 0.985  # 400 experiments: three standard deviations about 95 %
    least, most = wilson(hits.sum(axis=0), 15 * n_groups)
    assert ((least <= share) & (share <= most)).mean() < 0.8  # images taken for independent
    effects = [design_effect(own, sizes) for own in hits.T]
    assert np.mean(effects) == pytest.approx(1 + 14 * within, rel=0.05)  # Kish: 1 + (m - 1) rho


def test_bootstrap_of_groups_does_not_ask_in_which_order_they_come():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, 40)
    hits = rng.binomial(sizes[:, None], 0.6, size=(40, 3))
    first = cluster_bootstrap(hits, sizes, n_resamples=200)
    for _ in range(5):
        order = rng.permutation(40)
        np.testing.assert_array_equal(
            cluster_bootstrap(hits[order], sizes[order], n_resamples=200), first
        )


def test_groups_that_say_nothing_claim_nothing():
    for hits in ([[3], [3]], [[0], [0]], [[2]]):
        ends = cluster_bootstrap(np.array(hits), np.full(len(hits), 3))
        assert np.isnan(ends).all()
    assert np.isnan(design_effect(np.array([3, 3]), np.array([3, 3])))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_exchange_of_groups_counts_every_way(differences):
    d = np.array(differences)
    ways = np.array(list(itertools.product((-1, 1), repeat=len(d)))) @ d
    assert sign_flip(d) == pytest.approx((abs(ways) >= abs(d.sum())).mean(), rel=1e-9)


@given(st.integers(0, 40), st.integers(0, 40))
def test_exchange_of_single_images_is_mcnemars_test(won, lost):
    d = np.array([1] * won + [-1] * lost + [0])
    assert sign_flip(d) == pytest.approx(mcnemar(won, lost), rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_bonferroni_in_every_subset(p):
    """A test is rejected where every set of tests that holds it is, by Bonferroni (closure)."""
    places = range(len(p))
    subsets = [s for k in places for s in itertools.combinations(places, k + 1)]
    expected = [
        max(min(1, len(s) * min(p[i] for i in s)) for s in subsets if j in s) for j in places
    ]
    assert holm(p) == pytest.approx(expected)


def test_groups_of_one_image_leave_the_paired_bootstrap_nearly_as_it_is():
    correct = np.random.default_rng(3).random((300, 3)) < [0.5, 0.6, 0.9]
    alone = paired_difference(correct, 0)
    ours = paired_difference(correct, 0, groups=np.arange(300))
    np.testing.assert_allclose(ours, alone, atol=0.35)  # whole images of 300
    twice = np.repeat(np.arange(300), 2)  # a copy of each image adds nothing
    np.testing.assert_allclose(paired_difference(correct[twice], 0, groups=twice), alone, atol=0.35)
