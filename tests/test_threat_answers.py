"""What rows of threats say: the worst case, gains, and the signs of a masked gradient."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import Linear

from core import attacks, codec
from core.attacks import Attack
from core.defences import Defended, defence_by_name
from results import accuracies, png
from results.stats import wilson
from results.threats import Column, Outcomes, masked, outcomes, threat_answer, worst_cases

EPS = 8.0


def column(threat="white", attack="pgd", eps=8.0, steps=10, restarts=1) -> Column:
    norm = "l2" if attack in ("cw", "bpda") else "linf"
    return Column(threat, attack, norm, eps, steps, restarts)


def first(n_right: int, n: int = 300) -> np.ndarray:
    return np.arange(n) < n_right


GRAY, FEW, MANY = column("gray", "ifgsm"), column(), column(steps=40, restarts=2)
CUBIC, SQUARE = column(attack="pgd:through=cubic"), column(attack="square:queries=300", steps=1)
MARGIN = column(attack="pgd:loss=margin")


@pytest.mark.parametrize(
    ("own", "reasons"),
    [
        ({GRAY: first(100), FEW: first(60), MANY: first(40)}, 0),
        ({GRAY: first(100), FEW: first(150), MANY: first(140)}, 1),  # gray box beats white
        ({GRAY: first(100), FEW: first(102), MANY: first(95)}, 0),  # within the interval
        ({column("black", "fgsm"): first(20), FEW: first(60)}, 1),
        ({column("black", "fgsm", eps=16.0): first(20), FEW: first(60)}, 0),  # a larger budget
        ({column("black", "cw"): first(20), FEW: first(60)}, 0),  # another norm
        ({FEW: first(60), column(eps=16.0): first(90)}, 1),  # a larger budget breaks fewer
        ({column(attack="fgsm", steps=1): first(60), FEW: first(90)}, 1),
        ({FEW: first(60), MANY: first(60)}, 0),  # it may have found all there is
        ({FEW: first(60), MANY: ~first(240)}, 1),  # as many, but other images
        ({FEW: first(60), CUBIC: first(40)}, 1),  # another derivative finds more
        ({FEW: first(60), CUBIC: first(55)}, 0),  # 5 of 300 are chance
        ({FEW: first(60), MARGIN: first(20)}, 0),  # another loss is no weaker attack
        ({MARGIN: first(60), CUBIC: first(20)}, 0),  # nor is the derivative all that differs
        ({FEW: first(60), SQUARE: first(20)}, 1),  # no gradient finds more than a gradient
        ({FEW: first(60), CUBIC: first(40), SQUARE: first(40)}, 1),  # not more than all gradients
    ],
)  # fmt: skip
def test_signs_of_a_masked_gradient(own, reasons):
    found = Outcomes({("d", c): right for c, right in own.items()})
    assert len(masked(found).get("d", [])) == reasons


def test_a_defence_without_a_gradient_is_marked_and_one_with_is_not():
    """Attacking through torch.round, whose derivative is zero, is what a masked gradient is."""
    network, seeded = Linear(), torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (150, 1, 8, 8), generator=seeded).byte()
    with torch.no_grad():
        labels = network(images / 255).argmax(1)
    defended = Defended(defence_by_name("k3-of4-af4"), network)
    few = Attack.with_defaults("pgd", eps_255=EPS, step_255=EPS / 20, n_steps=2)
    many = Attack.with_defaults("pgd", eps_255=EPS, n_steps=20)

    def right(attack, function) -> np.ndarray:
        attacked = attacks.on_images(
            attack, function, images, labels, image_ids=range(7, 157), seed=0
        )
        with torch.inference_mode():
            return (defended(attacked).argmax(1) == labels).numpy()

    gray, weak = column("gray", "pgd", EPS, 20), column(eps=EPS, steps=2)
    strong = column(eps=EPS, steps=20)
    for name, rounding in (("honest", codec.round_through), ("masked", torch.round)):
        through = partial(defended, rounding=rounding)
        own = {gray: right(many, network), weak: right(few, through), strong: right(many, through)}
        marks = masked(Outcomes({(name, c): outcome for c, outcome in own.items()}))
        counts = {c.text(): int(outcome.sum()) for c, outcome in own.items()}
        assert (name in marks) == (name == "masked"), counts


def rows_of(right: dict[tuple[str, Column], np.ndarray]) -> pd.DataFrame:
    return pd.concat([
        pd.DataFrame(vars(c) | {"defence": d, "image": np.arange(len(r)), "label": 1,
                                "predicted": r.astype(int)})
        for (d, c), r in right.items()
    ])  # fmt: skip


def test_rows_become_outcomes_and_the_worst_case_is_per_image():
    small, large = column(eps=2.0), column(eps=8.0)
    gray, l2 = column("gray", "fgsm", 8.0), column(attack="bpda", eps=700.0)
    own = {
        ("a", Column("none", "none", "linf", 0.0, 0, 0)): np.array([1, 1, 1, 1, 0], bool),
        ("a", small): np.array([1, 1, 1, 0, 0], bool),
        ("a", large): np.array([0, 1, 1, 0, 0], bool),
        ("a", gray): np.array([1, 0, 1, 1, 1], bool),
        ("a", l2): np.zeros(5, bool),
    }  # fmt: skip
    rows = rows_of(own)
    found = outcomes(pd.concat([rows, rows.iloc[:3]]).sample(frac=1, random_state=0), ["a"])
    for key, right in own.items():
        np.testing.assert_array_equal(found.right[key], right)
    worst = {c.eps_255: r.tolist() for (_, c), r in found.right.items() if c.threat == "worst"}
    assert worst == {2.0: [1, 1, 1, 0, 0], 8.0: [0, 0, 1, 0, 0]}
    table = threat_answer(rows, ["a"], title="t").frames["accuracies"]
    table = table.set_index(["threat", "attack", "eps_255"])
    assert table.loc[("gray", "fgsm", 8.0), "accuracy"] == 80.0
    with pytest.raises(ValueError, match="different predictions"):
        outcomes(pd.concat([rows, rows.iloc[:1].assign(predicted=0)]), ["a"])
    with pytest.raises(ValueError, match="others 5"):
        outcomes(rows.iloc[:-1], ["a"])


def test_text_and_figure_show_every_defence_and_mark():
    own = {(d, c): first(n) for d, n in (("a", 90), ("b", 200)) for c in (FEW,)}
    own |= {("a", GRAY): first(100), ("b", GRAY): first(100)}  # the gray box beats b's white box
    answer = threat_answer(rows_of(own), ["a", "b"], title="t")
    assert "b !" in answer.text
    assert "! b: gray ifgsm 8 breaks 100 of 300 images that every gradient at 8 left" in answer.text
    assert "67 [61, 72]" in answer.text  # 200 of 300
    marks = answer.frames["accuracies"].groupby("defence")["masked"].first()
    assert marks["a"] == ""
    assert "breaks 100" in marks["b"]
    axes = answer.figures["threat_table"].axes
    assert sum(not p.get_fill() for each in axes for p in each.patches) == 1  # a red frame
    assert png(answer.figures["threat_table"])[:4] == b"\x89PNG"


def test_the_verdict_says_where_the_best_of_the_white_box_is_masked():
    own = {("b", FEW): first(200), ("b", GRAY): first(210), ("none", FEW): first(60)}
    own |= {("none", GRAY): first(60), ("a", FEW): first(90), ("a", GRAY): first(100)}
    honest = threat_answer(rows_of(own), ["none", "a", "b"], title="t").verdict
    assert "worst of all within 8/255: b 66.7 % right, the best of 2" in honest
    own["b", GRAY] = first(100)  # which beats b's white box
    masked_one = threat_answer(rows_of(own), ["none", "a", "b"], title="t").verdict
    assert "b 33.3 % right (its gradient is masked), the best of 2" in masked_one


def test_draws_are_told_where_a_defence_was_attacked_with_several_numbers_of_them():
    few, many = (replace(FEW, n_samples=n) for n in (5, 20))
    own = {("random", few): first(90), ("random", many): first(80), ("table", FEW): first(60)}
    told = threat_answer(rows_of(own), ["random", "table"], title="t").text
    assert "white pgd 8x10 5 draws" in told
    assert "white pgd 8x10 20 draws" in told
    assert "white pgd 8x10  " in told  # the deterministic one
    one = {("random", few): first(90), ("table", FEW): first(60)}
    assert "draws" not in threat_answer(rows_of(one), ["random", "table"], title="t").text


def test_gains_over_none_are_paired_and_a_short_attack_is_not_a_mask():
    plain, cubic = column(attack="apgd"), column(attack="apgd:through=cubic")
    own = {
        ("none", plain): first(60),
        ("none", SQUARE): first(40),
        ("none", GRAY): first(70),
        ("a", plain): first(60) | ~first(290),
        ("a", cubic): first(45),
        ("a", GRAY): first(70),
    }
    found = threat_answer(rows_of(own), ["none", "a"], title="t")
    assert "? none: white square:queries=300 8 breaks 20 of 300" in found.text
    assert "! a: white apgd:through=cubic 8x10 breaks 25 of 300" in found.text
    # worst: none right on 40, a on 45: 5 won, none lost
    assert "eps ≤ 8  a                       +2 [+0, +4] p 0.062" in found.text
    quiet = threat_answer(rows_of(own), ["none", "a"], title="t", judged=False).text
    assert "breaks" not in quiet
    assert "McNemar" not in quiet


def drawn_rows(shares: dict[Column, list[str]], defence: str = "random") -> pd.DataFrame:
    """Of each image's draws which are right, "110"."""
    return pd.concat([
        pd.DataFrame(vars(c) | {"defence": defence, "image": i, "draw": range(len(bits)),
                                "label": 1, "predicted": [int(bit) for bit in bits]})
        for c, images in shares.items() for i, bits in enumerate(images)
    ])  # fmt: skip


def test_an_image_counts_with_its_mean_over_draws_and_the_attacker_does_not_know_the_draw():
    # On image 0 each attack breaks another draw: both together would break both, neither does.
    drawn = drawn_rows({FEW: ["10", "11", "00", "01"], MANY: ["01", "11", "00", "00"]})
    plain = rows_of({("none", FEW): first(3, 4), ("none", MANY): first(2, 4)}).assign(draw=0)
    answer = threat_answer(pd.concat([plain, drawn]), ["none", "random"], title="t")
    lines = answer.frames["accuracies"].set_index(["defence", "threat", "n_steps"])
    order = [("white", 10), ("white", 40), ("worst", 0)]
    own, none = lines.loc["random"].loc[order], lines.loc["none"].loc[order]
    assert own["accuracy"].tolist() == [50.0, 37.5, 37.5]
    assert (own["n"] == 4).all()
    assert (own["n_repeats"] == 2).all()
    assert own["draw_least"].tolist() == [50.0, 25.0, 25.0]
    assert own["draw_most"].tolist() == [50.0, 50.0, 50.0]
    assert none["accuracy"].tolist() == [75.0, 50.0, 50.0]
    low, high = wilson([2], [4])
    assert own.loc[("white", 10), "low"] == pytest.approx(100 * low[0])
    assert own.loc[("white", 10), "high"] == pytest.approx(100 * high[0])
    # none right on images 0 and 1; the other loses half of the first: 4 of 4 ways to exchange.
    assert "eps ≤ 8  random                  -12" in answer.text
    assert "exchange of images, Holm's of 1" in answer.text
    assert answer.text.rstrip().endswith("p 1")


def test_of_several_runs_the_mean_counts_and_the_worst_case_is_each_network_s_own():
    runs = [
        rows_of({("a", FEW): first(4, 8), ("a", MANY): ~first(2, 8)}),  # worst: 2 of 8
        rows_of({("a", FEW): first(8, 8), ("a", MANY): first(6, 8)}),  # worst: 6 of 8
    ]
    rows = pd.concat([own.assign(run=run) for run, own in enumerate(runs)])
    answer = threat_answer(rows, ["a"], title="t")
    lines = answer.frames["accuracies"].set_index(["threat", "n_steps"])
    lines = lines.loc[[("white", 10), ("white", 40), ("worst", 0)]]
    assert lines["accuracy"].tolist() == [75.0, 75.0, 50.0]
    assert lines["run_least"].tolist() == [50.0, 75.0, 25.0]
    assert lines["run_most"].tolist() == [100.0, 75.0, 75.0]
    assert lines.loc[("worst", 0), "run_sd"] == pytest.approx(50 / 2**0.5)
    assert (lines["n"] == 8).all()
    assert "(25..75)" in answer.text
    groups = rows.assign(group=(rows["image"] // 2).astype(str))
    by_group = threat_answer(groups, ["a"], title="t").frames["accuracies"]
    alone = accuracies(groups[(groups["run"] == 1) & (groups["n_steps"] == 40)], ["defence"])
    assert by_group["n_groups"].tolist() == [4, 4, 4]
    both = by_group.set_index("n_steps")["deff"]
    assert both[40] < alone["deff"].iloc[0]


def test_the_worst_case_is_one_row_an_image_wrong_where_any_is():
    small, few, many = (np.array(bits, bool) for bits in ([1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1]))
    other = column(eps=2.0)
    rows = rows_of({("a", FEW): few, ("a", MANY): many, ("a", other): small, ("b", other): small})
    worst = worst_cases(rows).sort_values(["defence", "eps_255", "image"])
    assert worst["threat"].unique().tolist() == ["worst"]
    right = (worst["predicted"] == worst["label"]).groupby([worst["defence"], worst["eps_255"]])
    # Within 8/255 the smaller budget counts too; b was not attacked with the larger.
    assert {key: own.tolist() for key, own in right} == {
        ("a", 2.0): small.tolist(), ("a", 8.0): [True, False, False, False],
        ("b", 2.0): small.tolist(),
    }  # fmt: skip
