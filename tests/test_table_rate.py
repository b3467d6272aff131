"""Tables in other colour spaces, and what pictures cost under the tables of a search."""

import typing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from counted import counted, frame, named
from torch import nn

from core.attacks import parse_attack
from core.defences import SPACES, defence_by_name
from jobs import qtable_search
from results.tables.answer import table_answer
from results.tables.flat import best_flat
from results.tables.rate import priced, rate_front
from results.tables.surface import summary
from results.tables.winner import BASELINES
from search import main, references
from search.inputs.loading import Images, Inputs
from search.inputs.pictures import Block, Piece
from search.tables.plan import SEARCH, Question, evaluate


@pytest.fixture
def question() -> Question:
    inputs = Inputs(data="photos", side=32, fingerprint="f", model="m", seed=0, precision="fp32")
    some = np.arange(4)
    pieces = (
        Piece("a", "search", "adversarial", some, some, some),
        Piece("b", "search", "benign", some, some, some),
    )
    asked = qtable_search.Asked(patterns=(1, 3), qs_af=(11, 51))
    return Question(inputs, "w", parse_attack("fgsm@2", channels=3, side=32), pieces, asked)


def test_predictions_in_any_space_are_those_of_the_defence_image_by_image(question):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((9, 3, 5, 5), generator=generator)
    fine = nn.functional.interpolate(coarse, size=(20, 26), mode="bicubic").clamp(0, 1)
    images = (fine * 255).round().to(torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(50)
        ).eval()
        network(torch.zeros(1, 3, 20, 26))
    bare = ("k3-of16-af116", "uniform40")
    names = [f"{name}{space}" for name in bare for space in ("@ycbcr", "", "@ycbcr420")]
    names = ["jpeg20", *names, "none", "jpeg20-444"]
    cell = question.cell(Block(question.pieces[1], 0, 4), names)
    ids = torch.arange(9)
    found = pd.DataFrame(evaluate(cell, (Images(images, ids, ids, ids), network)))
    asked = pd.DataFrame([
        (int(i), name, network(defence_by_name(name)(images[i : i + 1] / 255)).argmax().item())
        for i in ids for name in names
    ], columns=["image", "table", "predicted"])  # fmt: skip
    pd.testing.assert_frame_equal(
        found[list(asked)].astype({"table": str}), asked.astype({"table": str}), check_dtype=False
    )
    by_name = found.groupby("table", observed=True)["predicted"].agg(tuple)
    assert by_name["k3-of16-af116"] != by_name["k3-of16-af116@ycbcr"]  # spaces do matter here
    assert by_name["k3-of16-af116@ycbcr"] != by_name["k3-of16-af116@ycbcr420"]
    searched = found.set_index(found["table"].astype(str))
    assert set(searched.loc["k3-of16-af116@ycbcr", "pattern"]) == {3}
    assert set(searched.loc["k3-of16-af116@ycbcr", "qs_af"]) == {116}
    assert searched.loc["uniform40@ycbcr", "pattern"].isna().all()


def test_a_space_is_in_the_names_of_tables_and_sweep(question):
    offered = typing.get_args(typing.get_type_hints(qtable_search.Asked)["space"])
    assert offered == SPACES
    other = replace(question, asked=replace(question.asked, space="ycbcr420"))
    plan, tally = other.plan()
    assert [table.name for table in tally.tables] == [
        f"k{k}-of16-af{q}@ycbcr420" for k in (1, 3) for q in (11, 51)
    ]
    cells = [plan.ask() for _ in range(2)]
    assert all(cell.tables == tuple(tally.counts) for cell in cells)
    assert torch.equal(tally.tables[0].table(), question.plan()[1].tables[0].table())
    assert other.sweep.startswith("photos-32-ycbcr420-")
    assert question.sweep.startswith("photos-32-m-fgsm-eps2-")
    assert len({SEARCH.cell_id(q.plan()[0].ask()) for q in (question, other)}) == 2


def lines(rng: np.random.Generator) -> pd.DataFrame:
    """As of `priced`: few values, so that many tables are alike in Def or in bits."""
    n = 40
    return pd.DataFrame({
        "table": [f"t{i}" for i in range(n)],
        "pattern": pd.array(rng.choice([1, 2, None], n), dtype="Int64"),
        "n_adv_right": rng.integers(0, 12, n),
        "n_benign": 100,
        "n_benign_right_undefended": 90,
        "n_benign_right": 90 - rng.integers(0, 3, n),
        "bpp": rng.integers(1, 12, n) / 8,
    })  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_feasible_table_beats(seed):
    have = lines(np.random.default_rng(seed))
    fair = [
        line for line in have.itertuples()
        if line.pattern is not pd.NA and line.n_benign_right > 88
    ]  # fmt: skip
    kept = {
        (a.bpp, a.n_adv_right) for a in fair
        if not any(
            b.bpp <= a.bpp and b.n_adv_right >= a.n_adv_right
            and (b.bpp, b.n_adv_right) != (a.bpp, a.n_adv_right)
            for b in fair
        )
    }  # fmt: skip
    front = rate_front(have, max_decline_points=2)
    assert list(zip(front["bpp"], front["n_adv_right"], strict=True)) == sorted(kept)
    assert set(front["table"]) <= {line.table for line in fair}


def test_the_answer_tells_bits_of_winner_references_and_front():
    spaced = [(f"{name}@ycbcr420", *rest) for name, *rest in (named(k, 116) for k in range(1, 15))]
    kept = {name: 20 + i for i, (name, *_) in enumerate(spaced)}
    rows = frame([
        row for name in spaced
        for row in counted(name, lost=3, kept=kept[name[0]], n_benign=400, n_adv=50)
    ])  # fmt: skip
    jpegs = {"jpeg95": 3, "jpeg20": 30, "jpeg5": 40}
    jpeg = summary(frame([
        row for name, k in jpegs.items()
        for row in counted((name, None, None, None), lost=k // 10, kept=k, n_benign=400, n_adv=50)
    ]))  # fmt: skip
    held_out = frame([
        row for name in (*((b, None, None, None) for b in BASELINES), spaced[-1])
        for row in counted(name, n_benign=400, n_adv=50)
    ])  # fmt: skip
    bits = {name: 512 * (i + 1) for i, name in enumerate([*kept, *jpegs])}
    rates = pd.DataFrame([
        {"codec": name, "image": i, "side": 32, "bits": b + 64 * i}
        for name, b in bits.items() for i in (0, 2)
    ])  # fmt: skip
    answer = table_answer(rows, held_out, title="t", jpeg=jpeg, rates=rates)
    text = answer.text.partition("\nbits per pixel")[2]
    assert max(map(len, text.splitlines())) <= 80
    said = text.splitlines()
    assert said[0].endswith("mean of 2 benign images of the search")
    assert said[2].split()[:2] == [spaced[-1][0], "7.062"]  # the winner: (14 * 512 + 64) / 1024
    assert best_flat(jpeg, max_decline_points=1) == "jpeg20"
    assert said[3].split()[:2] == ["jpeg20", "8.062"]
    assert said[4].startswith("front: 8 of the 14 of 14 tables")
    shown = [line.split()[0] for line in said[5:13]]
    assert (shown[0], shown[-1]) == (spaced[0][0], spaced[-1][0])
    assert said[13].split() == ["JPEG", "5", "20", "95"]
    assert said[14].split() == ["bpp", "8.56", "8.06", "7.56"]
    assert len(answer.frames["front_rate"]) == 14
    assert set(answer.frames["surface"]["bpp"] * 1024) == {b + 64 for b in bits.values()}
    (axes,) = answer.figures["rate"]().axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert len(drawn["searched table, Acc_dec < 1"]) == len(drawn["front"]) == 14
    assert drawn["JPEG, infeasible"] == [[8.5625, 80.0]]
    assert drawn[f"winner: {spaced[-1][0]}"] == [[7.0625, 66.0]]
    assert {text.get_text() for text in axes.texts} == {"5", "20", "95"}
    assert priced(jpeg, rates)["n_bpp"].tolist() == [2, 2, 2]


def test_a_search_counts_bits_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(references, "QUALITIES", (10, 50, 95))
    flags = (
        "--patterns 3 --qs-af 51,121 --benign 40 --adversarial 10 --report-benign 20 "
        "--report-adversarial 10 --flat 20 --rate 12 --block 50 --here --max-decline 50"
    )
    assert main(qtable_search.JOB, ["--store", str(tmp_path), *flags.split()]) == 0
    said = capsys.readouterr().out
    assert "bits per pixel: JPEG's scan, mean of 12 benign images of the search" in said
    (folder,) = (tmp_path / "answers").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"rate.png", "front_rate.parquet"}
    surface = pd.read_parquet(folder / "surface.parquet").set_index("table")
    assert surface.loc["uniform20", "bpp"] > 0
    assert surface["bpp"].notna().all()
    jpeg = surface.loc[[f"jpeg{q}" for q in references.QUALITIES], "bpp"]
    assert jpeg.is_monotonic_increasing
