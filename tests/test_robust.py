"""Rules of choosing a training set: plain loops, laws, and counts by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from results import compressed, defended, robust
from results.robust_text import text
from results.stats import holm, mcnemar, sign_flip

TESTS = [f"{name}@{level}" for name in ("fog", "snow") for level in (1, 2, 3)]
SETS = ("none", "jpeg80", "jpeg20", "noise0.1", "none+jpeg20")


def rows_of(right: dict[str, np.ndarray], **columns) -> pd.DataFrame:
    """Rows of `right[split]`, [settings, tests, images], clean images first of all tests."""
    parts = []
    for split, outcome in right.items():
        for (i, setting), (j, test) in itertools.product(
            enumerate(SETS), enumerate(["none", *TESTS])
        ):
            n = outcome.shape[2]
            parts.append(pd.DataFrame({
                "training": setting, "run": 0, "test": test, "split": split,
                "image": np.arange(n), "label": 1, "predicted": outcome[i, j].astype(int),
                **{name: values[:n] for name, values in columns.items()},
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def right() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {s: random.random((len(SETS), 1 + len(TESTS), 40)) < 0.7 for s in ("search", "report")}


@pytest.fixture(scope="module")
def found(right) -> robust.Answered:
    return robust.answered(rows_of(right), SETS, TESTS)


def test_families_of_names():
    each = {"none": "original", "jpeg5": "JPEG", "jpeg5-444": "JPEG", "smooth8": "noise",
            "blur9": "blur", "none+blur3": "joined", "bls:lambda=0.1": "BLS",
            "bmhj:lambda=0.1": "BMHJ", "k3-of16-af51": "table",
            "uniform16@ycbcr": "table", "fd": "table",
            "m0123456789abcdef-of16-af51": "table", "tvm": "other"}  # fmt: skip
    assert {name: robust.family_of(name) for name in each} == each


def test_every_rule_is_the_plain_loop_over_settings(right, found):
    jpegs = {"jpeg80": right["search"][1], "jpeg20": right["search"][2]}

    def best(tests):
        places = [1 + TESTS.index(test) for test in tests]
        return max(jpegs, key=lambda name: jpegs[name][places].mean())

    expected = {
        "BDA": {test: best(TESTS) for test in TESTS},
        "BDAD": {test: best([t for t in TESTS if t[:3] == test[:3]]) for test in TESTS},
        "BDADS": {test: best([test]) for test in TESTS},
    }
    for rule, each in expected.items():
        chosen = [SETS[i] for i in found.chosen("JPEG", rule)]
        assert chosen == list(each.values()), rule


def test_rules_choose_for_all_for_each_corruption_and_for_each_severity():
    fog, snow = [1, 0, 0], [0, 1, 1]  # right answers of two settings over severities
    shares = np.array([[*fog, *fog], [*snow, 0, 0, 0.4]], dtype=float)
    corruptions = [test.partition("@")[0] for test in TESTS]
    found = {r: robust.choices(shares, corruptions, r).tolist() for r in robust.RULES}
    assert found == {
        "BDA": [1] * 6,  # 2.4 against 2
        "BDAD": [1, 1, 1, 0, 0, 0],
        "BDADS": [0, 1, 1, 0, 0, 1],
    }
    many = robust.choices(np.stack([shares, shares[::-1]]), corruptions, "BDAD")
    assert many.tolist() == [found["BDAD"], [1 - i for i in found["BDAD"]]]


def test_what_is_chosen_on_search_is_reported_on_held_out_images(right, found):
    lines = found.optimism().set_index(["family", "rule"])
    for rule in robust.RULES:
        honest = [SETS.index(SETS[i]) for i in found.chosen("JPEG", rule)]
        told = np.mean([right["report"][i, 1 + j].mean() for j, i in enumerate(honest)])
        line = lines.loc[("JPEG", rule)]
        assert line["accuracy"] == pytest.approx(100 * told)
        assert line["low"] < line["accuracy"] < line["high"]
        assert line["optimism"] >= 0  # nothing is better there than what is best there
    sizes = [lines.loc[("JPEG", rule), "same"] for rule in robust.RULES]
    assert sizes == sorted(sizes)  # who chooses more finely fits better
    assert list(lines.index.unique("family")) == ["JPEG"]  # others leave no choice


def test_resamples_choose_as_the_images_do_where_they_leave_no_doubt(right):
    clear = {split: outcome.copy() for split, outcome in right.items()}
    clear["search"][1], clear["search"][2] = True, False
    found = robust.answered(rows_of(clear), SETS, TESTS)
    ranked = found.ranking().set_index("setting")
    assert ranked.loc["jpeg80", "wins"] == 100
    assert ranked.loc["jpeg20", "wins"] == 0
    assert ranked.loc["jpeg80", ["rank", "printed"]].tolist() == [1, 1]
    assert (found.best("BDAD").query("family == 'JPEG'")["setting"] == "jpeg80").all()


def test_gains_over_originals_are_mcnemars_where_there_is_one_severity(right):
    tests = ["fog@1", "snow@1"]
    rows = rows_of(right)
    found = robust.answered(rows[rows["test"].isin(["none", *tests])], SETS, tests)
    lines = found.gains()
    expected = []
    for _, line in lines.iterrows():
        j = 1 + TESTS.index(f"{line['corruption']}@1")
        before, after = right["report"][0, j], right["report"][SETS.index(line["setting"]), j]
        expected.append(mcnemar(int((after & ~before).sum()), int((before & ~after).sum())))
        assert line["gain"] == pytest.approx(100 * (after.mean() - before.mean()))
    np.testing.assert_allclose(lines["p"], holm(expected))
    assert len(lines) == 2 * 3  # JPEG, noise and joined


def test_groups_are_resampled_whole(right):
    pairs = {split: outcome.repeat(2, axis=2) for split, outcome in right.items()}
    groups = np.arange(80) // 2
    alone = robust.answered(rows_of(right), SETS, TESTS)
    twice = robust.answered(rows_of(pairs, group=groups.astype(str)), SETS, TESTS)
    lines = [each.severities("BDA")[["accuracy", "low", "high"]] for each in (alone, twice)]
    # Twice the same images in groups of two are worth no more; groups are numbered otherwise.
    np.testing.assert_allclose(lines[0]["accuracy"], lines[1]["accuracy"])
    widths = [float((each["high"] - each["low"]).mean()) for each in lines]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
    assert "40 groups of images" in text(twice)


def test_the_best_run_is_picked_on_clean_images_of_a_split(right):
    rows = pd.concat([rows_of(right), rows_of(right).assign(run=1)])
    clean = (rows["test"] == "none") & (rows["run"] == 1)
    rows.loc[clean & (rows["split"] == "search"), "predicted"] = 1  # all right
    rows.loc[clean & (rows["split"] == "report"), "predicted"] = 0
    assert robust.picked_runs(rows, "search") == dict.fromkeys(SETS, 1)
    assert robust.picked_runs(rows, "report") == dict.fromkeys(SETS, 0)
    assert "has 0.00 % of clean held-out ones" in robust.runs_bias(rows)
    assert robust.runs_bias(rows_of(right)) == ""


def test_a_long_mixture_moves_no_column(right):
    rows = rows_of(right).replace({"training": {SETS[1]: "9999*none+1*jpeg40"}})
    sets = [SETS[0], "9999*none+1*jpeg40", *SETS[2:]]
    lines = text(robust.answered(rows, sets, TESTS)).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("family"))
    ends = {line.index(" [") for line in lines[start + 1 : start + 1 + len(sets)]}
    assert len(ends) == 1


def test_originals_alone_are_ranked_and_nothing_is_chosen(right):
    rows = rows_of(right)
    said = text(robust.answered(rows[rows["training"] == "none"], ["none"], TESTS))
    assert "original none" in said
    assert "BDAD" not in said


def test_networks_that_met_other_images_are_not_compared(right):
    rows = rows_of(right)
    with pytest.raises(ValueError, match="same images in every test"):
        robust.answered(rows.drop(rows.index[-1]), SETS, TESTS)


def test_printed_settings_are_names_of_transforms():
    for family, settings in robust.PRINTED_RANKS.items():
        assert {robust.family_of(setting) for setting in settings} == {family}
        assert set(robust.PRINTED_BEST[family].values()) <= set(settings)


def test_counts_of_epochs_are_last_ones_and_the_sources_best():
    epochs = pd.DataFrame([
        {"network": "a", "training": t, "test": test, "split": split, "epoch": epoch, "run": run,
         "n_correct": right, "n_correct_top5": 10, "n_images": 10}
        for t, test, split, epoch, run, right in (
            ("none", "none", "report", 1, 0, 9), ("none", "none", "report", 2, 0, 5),
            ("none", "none", "report", 1, 1, 4), ("none", "none", "report", 2, 1, 7),
            ("none", "none", "search", 2, 0, 10), ("jpeg5", "none", "report", 2, 0, 3),
            ("jpeg5", "jpeg5", "report", 2, 0, 6),
        )
    ])  # fmt: skip
    lines = compressed.counted(epochs)
    told = lines.set_index(["training", "test"])[["last", "low", "high", "best", "runs", "n"]]
    assert told.loc[("none", "none")].tolist() == [60, 50, 70, 90, 2, 10]
    assert told.loc[("jpeg5", "jpeg5")].tolist() == [60, 60, 60, 60, 1, 10]
    assert compressed.tested_on(lines, "same")["last"].tolist() == [60, 60]
    assert compressed.tested_on(lines, "original")["last"].tolist() == [60, 30]
    both = pd.concat([lines, lines.assign(network="b", last=lines["last"] / 2)])
    assert compressed.changed(both, "original")["change"].tolist() == [0, 0, -50, -50]
    assert compressed.counted(epochs, top="top-5")["last"].unique().tolist() == [100]
    gained = pd.DataFrame({"network": ["a"], "training": ["jpeg5"], "p": [0.5]})
    assert compressed.verdict(both, gained, "both") == (
        "a trained on: originals 60.0 % right, jpeg5 30.0 % (p 0.5); Holm's of 1"
    )
    assert compressed.verdict(both, pd.DataFrame(), "same") == (
        "b in place of a, tested on images as in training: none 30.0 % right (-50.0 %), jpeg5 "
        "30.0 % right (-50.0 %)"
    )


def test_points_gained_over_originals_count_every_run_of_an_image_once(right):
    outcome = right["report"][:2, :2]  # two sets, two runs
    rows = pd.concat([
        pd.DataFrame({"network": "a", "training": SETS[i], "run": run, "image": np.arange(40),
                      "label": 1, "predicted": outcome[i, run].astype(int)})
        for i in (0, 1) for run in (0, 1)
    ])  # fmt: skip
    (line,) = compressed.gains(rows, ["a"], SETS[:2]).to_dict("records")
    change = outcome[1].astype(int) - outcome[0].astype(int)
    assert line["gain"] == pytest.approx(100 * change.mean())
    assert line["p"] == pytest.approx(sign_flip(change.sum(0)))
    (alone,) = compressed.gains(rows[rows["run"] == 0], ["a"], SETS[:2]).to_dict("records")
    won, lost = int((change[0] > 0).sum()), int((change[0] < 0).sum())
    assert alone["p"] == pytest.approx(mcnemar(won, lost))


def test_quality_is_of_the_images_it_was_measured_on():
    rows = pd.DataFrame({
        "transform": ["jpeg5", "jpeg5", "blur3", "bls:lambda=0.1"], "sse": [0.03, 0.3, 0.3, 0.3],
        "n_values": [300] * 4, "ssim": [0.5, None, 0.25, 0.5],
        "bits": pd.array([200, None, None, 100], dtype="Int64"), "side": 10,
    })  # fmt: skip
    found = compressed.quality(rows).set_index("transform")
    assert found.loc["jpeg5", ["psnr", "ssim", "bpp"]].tolist() == pytest.approx([35, 0.5, 2])
    assert found.loc["jpeg5", "bpp_source"] == pytest.approx(2 + 1.28)
    assert found.loc["blur3", ["psnr", "ssim"]].tolist() == pytest.approx([30, 0.25])
    assert np.isnan(found.loc["blur3", "bpp"])
    assert found.loc["bls:lambda=0.1", "bpp"] == 1
    assert np.isnan(found.loc["bls:lambda=0.1", "bpp_source"])  # its string has no header


def test_points_for_each_doubling_of_the_rate_are_the_slope_of_least_squares():
    rates, accuracy = [0.3, 0.5, 1.0, 2.0, 2.5], [60.0, 66.0, 69.0, 74.0, 74.5]
    names = [f"jpeg{q}" for q in (5, 10, 20, 40, 60)]
    lines = pd.DataFrame({"network": "a", "training": names, "test": "none", "last": accuracy})
    measured = pd.DataFrame({"transform": names, "bpp": rates})
    (line,) = compressed.fits(lines, measured).to_dict("records")
    theirs = scipy.stats.linregress(np.log2(rates), accuracy)
    assert line["gain"] == pytest.approx(theirs.slope)
    half = scipy.stats.t.ppf(0.975, 3) * theirs.stderr
    assert line["high"] - line["gain"] == pytest.approx(half, rel=0.01)  # of the expansion
    assert compressed.fits(lines[:3], measured).empty


def test_points_a_defence_gains_are_counted_on_the_same_images_of_the_picked_run(right):
    after = np.random.default_rng(1).random(right["report"].shape) < 0.7
    worse = {split: np.zeros_like(outcome) for split, outcome in right.items()}
    rows = pd.concat([rows_of(right), rows_of(worse).assign(run=1)])
    found = defended.defended(rows, {"jpeg40": rows_of({"report": after})}, SETS, TESTS)
    lines, p = found.gains(), []
    for _, line in lines.iterrows():
        i, of = SETS.index(line["training"]), [0]
        if line["images"] != "clean":
            of = [1 + j for j, t in enumerate(TESTS) if line["images"] in ("all corrupted", t[:-2])]
        change = after[i, of].astype(int) - right["report"][i, of]
        assert line["gain"] == pytest.approx(100 * change.mean())
        assert line["right"] == pytest.approx(100 * after[i, of].mean())
        assert line["low"] < line["gain"] < line["high"]
        p.append(sign_flip(change.sum(0)))
    np.testing.assert_allclose(lines["p"], holm(p))
    assert len(lines) == 2 * len(SETS) + 2  # fog and snow, of originals alone
    curves = found.severities().set_index(["family", "corruption", "severity"])["accuracy"]
    assert curves["jpeg40", "fog", 2] == pytest.approx(100 * after[0, 2].mean())
    assert curves["no defence", "fog", 2] == pytest.approx(100 * right["report"][0, 2].mean())
