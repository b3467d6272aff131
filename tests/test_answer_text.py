"""The table search's printed answer against the winner and the summary that it prints."""

import re

import pytest
from counted import counted, frame, named, surface

from results.stats import paired_decline
from results.tables.answer import table_answer
from results.tables.winner import MeasuredBands, answer_text, summary, winner

BASELINES = ("none", "ijg75", "uniform16")


def report_rows(extra=()):
    names = [*((name, None, None, None) for name in BASELINES), named(2, 6), *extra]
    records = []
    for place, name in enumerate(names):
        records += counted(name, lost=2 * place, kept=9 * place, n_benign=400, n_adv=50)
    return frame(records)


def test_answer_prints_the_winner_its_ties_and_the_held_out_lines():
    rows = surface((1, 6, 0, 5), (2, 6, 5, 6), (3, 11, 5, 6 - 1), (3, 16, 500, 10))
    held_out = report_rows(extra=[named(9, 121)])  # left out, so it may be incomplete
    text = answer_text(
        rows, held_out[(held_out["table"] != "k9-of16-af121") | (held_out["image"] > 3)]
    )
    lines = text.split("\n")
    assert max(map(len, lines)) <= 80
    best = winner(rows)
    assert "k2-of16-af6: k 2, QS_OF 16, QS_AF 6" in lines[1]
    assert lines[2] == "  paper (ImageNet) QS_OF 16, QS_AF 50"
    assert re.findall(r"[\d.]+", lines[3]) == [
        f"{best.line[key]:.1f}" for key in ("acc_dec", "acc_dec_low", "acc_dec_high")
    ] + ["1000"]
    assert re.findall(r"[\d.]+", lines[4]) == [
        f"{best.line[key]:.1f}" for key in ("def_all", "def_all_low", "def_all_high")
    ] + ["10"]
    assert lines[6].split(None, 1)[1] == "3 of 4 tables (Acc_dec < 1)"
    assert lines[7].split(None, 1)[1] == "3 of them: k 1..3, QS_AF 6..11"
    assert lines[8] == "  note: the winner lies at the edge of what was searched (QS_AF 6 of 6..16)"
    assert "all others were ruled out" in answer_text(rows, None, partial=True)
    held_out = summary(report_rows()).set_index("table")
    names = [*BASELINES, "k2-of16-af6"]
    halves = lines[12:16], lines[18:22]
    assert [[line.split()[0] for line in half] for half in halves] == [names, names]
    both = zip(names, *halves, strict=True)
    body = {name: re.findall(r"-?\d+\.\d", f"{a[16:]} {b[16:]}") for name, a, b in both}
    for name, numbers in body.items():
        line = held_out.loc[name]
        measures = ("acc_benign", "acc_dec", "def_all", "def_successful")
        keys = [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
        assert numbers == [f"{line[key]:.1f}" for key in keys]
    assert [lines[i].split() for i in (16, 22)] == [["n", "400", "400"], ["n", "50", "50"]]
    low, high = paired_decline(27, 0, 50)  # 27 of 50 kept, none of them without a table
    gained = f"54.0 [{low:5.1f}, {high:5.1f}] points, McNemar p {2 / 2**27:.2g}"
    assert lines[-1] == f"  Def over none, same images:  {gained}"
    widths = {len(line) for line in lines[11:-2]}
    assert len(widths) == 1


def test_an_answer_of_measured_bands_tells_their_sizes_and_what_they_share():
    masks = {1: "8000000000000000", 2: "c040000000000000", 3: "f0c0000000000000"}
    rows = frame([
        row for (k, mask), kept in zip(masks.items(), (5, 6, 5), strict=True)
        for row in counted((f"m{mask}-of16-af6", k, 16, 6), kept=kept)
    ])  # fmt: skip
    held_out = report_rows(extra=[("mc040000000000000-of16-af6", 2, 16, 6)])
    bands = MeasuredBands(n_favoured={1: 1, 2: 3, 3: 6}, n_shared={1: 1, 2: 2, 3: 5})
    lines = answer_text(rows, held_out, bands=bands).split("\n")
    assert max(map(len, lines)) <= 80
    assert lines[1].endswith(" mc040000000000000-of16-af6: n_OF 3, QS_OF 16, QS_AF 6")
    assert lines[2].split(None, 1) == [
        "band", "2 of 3 OF coefficients lie in the diagonals of k 2"
    ]  # fmt: skip
    assert lines[7].endswith("of them: n_OF 1..6, QS_AF 6")
    assert [line.split()[0] for line in lines[11:15]] == [*BASELINES, "winner"]
    theirs = summary(held_out).set_index("table").loc["mc040000000000000-of16-af6"]
    assert float(lines[14].split()[1]) == pytest.approx(theirs["acc_benign"], abs=0.05)


def test_answer_without_a_report_stops_at_the_search_and_a_lacking_report_is_named():
    rows = surface((1, 6, 0, 5), (2, 6, 5, 6))
    text = answer_text(rows, None)
    assert "held-out" not in text
    assert answer_text(rows, report_rows()).startswith(text + "\n")
    held_out = report_rows()
    with pytest.raises(ValueError, match=r"found none of \['ijg75', 'k2-of16-af6'\]"):
        answer_text(rows, held_out[~held_out["table"].isin(["ijg75", "k2-of16-af6"])])


def test_no_minus_zero_is_printed():
    # 3 of 1700 lost: Tango's lower limit is -0.049 points.
    rows = surface((1, 6, 3, 5), n_benign=1700)
    assert "0.2 [  0.0,   0.5] points" in answer_text(rows, None)


def flats(*asked):
    return summary(frame([
        row for step, lost, kept in asked
        for row in counted((f"uniform{step}", None, None, None), lost=lost, kept=kept)
    ]))  # fmt: skip


def test_the_best_flat_step_is_told_reported_and_compared():
    rows = surface((1, 6, 0, 5), (2, 6, 5, 8), (3, 11, 5, 5), (3, 16, 500, 10))
    flat = flats((20, 3, 6), (30, 9, 7), (40, 20, 9))  # 40 costs too much
    held_out = report_rows(extra=[("uniform30", None, None, None)])
    answer = table_answer(rows, held_out, flat, title="t")
    assert "flat step        uniform30, best of 3: Acc_dec   0.9" in answer.text
    assert "Def over uniform30, same images:" in answer.text
    assert answer.text.count(", same images: ") == 2
    assert list(answer.figures) == ["surface", "front"]
    assert set(answer.frames["surface"]["table"]) >= {"uniform20", "uniform30", "uniform40"}
    (axes, _) = answer.figures["front"]().axes
    (line,) = [each for each in axes.lines if each.get_label() == "one step for all"]
    assert [tuple(at) for at in line.get_xydata()] == [(0.3, 60.0), (0.9, 70.0), (2.0, 90.0)]


def test_where_no_table_is_feasible_the_references_are_reported_all_the_same():
    rows = surface((1, 6, 50, 5), (2, 6, 50, 6))
    held_out = report_rows(extra=[("uniform20", None, None, None)])
    held_out = held_out[held_out["table"] != "k2-of16-af6"]
    text = table_answer(rows, held_out, flats((20, 3, 6), (30, 19, 7)), title="t").text
    assert "--max-decline" in text
    body = [line.split()[0] for line in text.partition("held-out report")[2].splitlines()[2:-3]]
    names = [*BASELINES, "uniform20"]
    assert body == [*names, "n", "table", *names]
    text = table_answer(rows, held_out, flats((20, 30, 6)), title="t").text
    assert "none of 1 flat tables keeps Acc_dec < 1" in text
    assert "same images" not in text


def test_a_limit_that_one_image_outweighs_is_told():
    rows = surface((1, 6, 0, 5), (2, 6, 1, 6), n_benign=100)
    told = "one of 100 benign images is 1 points, so the limit allows none to be lost"
    assert told in answer_text(rows, None)
    assert "allows none" not in answer_text(surface((1, 6, 0, 5), (2, 6, 1, 6)), None)
