"""The jobs on noise-trained chains, and what they read out of rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from search.chain import Member
from search.chain_cli import crossed
from search.robustness import first_break

from results import member_figures, members, robustness


def outcomes() -> pd.DataFrame:
    rows = [
        (weights, table, subject, image, image % 2, (image + (weights == "b") * (image > 2)) % 2)
        for weights, table in (("a", ""), ("b", "uniform16@q90"))
        for subject in members.SUBJECTS
        for image in range(6)
    ]
    names = ["weights", "table", "subject", "image", "label", "predicted"]
    return pd.DataFrame(rows, columns=names).assign(split="report")


KNOWN = [
    {"sigma_255": 8.0, "member": "M", "weights": "a", "table": ""},
    {"sigma_255": 8.0, "member": "M90", "weights": "b", "table": "uniform16@q90"},
]


def test_accuracies_are_shares_of_the_rows():
    lines = members.accuracies(members.named(outcomes(), KNOWN), ["sigma_255", "member"])
    assert lines["member"].tolist() == ["M", "M", "M90", "M90"]
    assert lines["n"].eq(6).all()
    assert lines["acc"].tolist() == [100, 100, 50, 50]
    assert (lines["acc_low"] < lines["acc"]).all()
    text = members.chain_text(lines)
    assert "M90" in text
    assert " 50.0 [" in text


def test_rows_that_disagree_or_are_absent_are_errors():
    rows = outcomes()
    twice = pd.concat([rows, rows.head(1).assign(predicted=1)])
    with pytest.raises(ValueError, match="measured twice"):
        members.named(twice, KNOWN)
    doubled = members.named(pd.concat([rows, rows]), KNOWN)
    assert len(doubled) == len(rows)
    with pytest.raises(ValueError, match="expected rows for every member"):
        members.named(rows[rows["weights"] == "a"], KNOWN)


def test_the_matrix_pairs_every_network_with_every_quality():
    trained = [Member(f"M{q}", f"w{q}", f"t@q{q}") for q in range(90, 20, -10)]
    pairs = crossed([Member("M", "a", ""), *trained])
    assert len(pairs) == 64
    assert ("M40", "q70", Member("M40", "w40", "t@q70")) in pairs
    assert ("M40", "none", Member("M40", "w40", "")) in pairs
    lines = pd.DataFrame(
        {"member": m, "quality": q, "subject": s, "n": 10, "acc": float(i + 8 * (s == "benign"))}
        for i, (m, q, _) in enumerate(pairs)
        for s in members.SUBJECTS
    )
    text = members.matrix_text(lines).splitlines()
    assert text[1].split() == ["member", "none", *(f"q{q}" for q in range(90, 20, -10))]
    assert text[2].split() == ["M", *(f"{8.0 + i:.1f}" for i in range(8))]
    figure = member_figures.matrix_figure(lines, title="t")
    maps = [axes.images[0].get_array() for axes in figure.axes[:2]]
    np.testing.assert_array_equal(maps[1], np.arange(64.0).reshape(8, 8))
    again = member_figures.matrix_figure(lines, title="t")
    assert member_figures.png(figure) == member_figures.png(again)


def test_the_first_restart_that_breaks_is_kept_and_broken_images_are_left_alone():
    breaks_at = torch.tensor([3, 1, 9, 2, 1])  # the last is wrong before any attack
    asked: list[list[int]] = []

    def breaks(chosen: torch.Tensor, restart: int) -> torch.Tensor:
        asked.append(chosen.tolist())
        return breaks_at[chosen] <= restart

    alive = torch.tensor([True, True, True, True, False])
    assert first_break(breaks, alive=alive, n_restarts=4) == [3, 1, None, 2, None]
    assert asked == [[0, 1, 2, 3], [0, 2, 3], [0, 2], [2]]


def test_robust_accuracy_counts_images_that_no_restart_broke():
    rows = pd.DataFrame(
        {
            "defence": "ours", "threat": "gray", "eps_255": 2.0, "n_restarts": 10,
            "image": range(10), "label": 0, "predicted": [0] * 9 + [1],
            "broken_by": pd.array([1, 1, 2, 10, *[None] * 6], dtype="Int32"),
        }
    )  # fmt: skip
    (line,) = robustness.robust_lines(pd.concat([rows, rows])).to_dict("records")
    assert (line["n"], line["standard"], line["one"], line["all"]) == (10, 90, 70, 50)
    assert line["all_low"] < 50 < line["all_high"]
    text = robustness.robust_text(pd.DataFrame([line]), {("ours", 2.0): 90.0})
    assert "ours (gray)" in text
    assert text.splitlines()[-1].split()[-2:] == ["1.50", "1.00"]


def test_the_table_stands_in_order_of_budget_and_defence():
    row = {"n_restarts": 1, "image": 0, "label": 0, "predicted": 0, "threat": "white",
           "broken_by": pd.array([None], dtype="Int32")}  # fmt: skip
    keys = [("ours", 4.0), ("fast", 4.0), ("fast", 2.0)]
    rows = pd.concat([pd.DataFrame(row | {"defence": d, "eps_255": e}) for d, e in keys])
    lines = robustness.robust_lines(rows)
    assert list(zip(lines["defence"], lines["eps_255"], strict=True)) == keys[::-1]


def test_an_epoch_stored_twice_takes_its_time_once():
    rows = pd.DataFrame({"member": ["M90", "M90", "M80", "M90"], "epoch": [1, 2, 1, 1],
                         "sigma_255": 8.0, "epoch_wall_s": [1.0, 2.0, 4.0, 8.0]})  # fmt: skip
    assert robustness.training_wall_s(rows, ["sigma_255"]) == {(8.0,): 7.0}
