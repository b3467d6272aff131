"""Studies of threats: the bank and the scores against a plain loop."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from stored import MADE
from tiny import lenet
from trained import train_at_once

import results
from core import attacks, codec, models, seeds
from core.attacks import Attack
from core.codec import qtable
from core.defences import Defended, defence_by_name
from core.errors import InputError
from jobs.threat_table import JOB, check_names
from results import schema
from results.files import Root
from search import main, scores
from search.engine.bank import Bank
from search.engine.study import Place
from search.inputs import chains
from search.inputs.images import EXAMPLES, ExamplesCell
from search.inputs.loading import Victim

N = 24
TABLE = "k3-of16-af51"
EPS = 8.0


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Bank:
    return Bank(Root(str(tmp_path_factory.mktemp("bank"))))


@pytest.fixture(scope="module")
def content() -> dict[str, torch.Tensor]:
    """Images that the network gets right but for every fourth."""
    return images_of(N)


def images_of(n: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=generator).byte()
    with torch.inference_mode():
        undefended = lenet()(images / 255).argmax(1)
    labels = undefended.clone()
    labels[::4] = 1 - labels[::4]
    ids = torch.arange(n) + 7
    return {"images": images, "labels": labels, "ids": ids, "undefended": undefended}


@pytest.fixture(scope="module")
def pieces(bank, content) -> tuple[str, str]:
    """Names of the network and of the images."""
    return bank.put(*models.to_tensors(lenet()))[0], bank.put(content)[0]


def cell_of(pieces, attack: Attack, **changes) -> ExamplesCell:
    fields = {
        "data": "digits", "side": 8, "fingerprint": "f", "model": "m", "seed": 3,
        "precision": "fp32", "split": "report", "networks": (pieces[0],), "tables": ("",),
        "front": "none", "images": pieces[1], "first": 0, "count": N, "attack": attack.name,
        "eps_255": attack.eps_255, "step_255": attack.step_255, "n_steps": attack.n_steps,
        "n_restarts": attack.n_restarts, "n_samples": 0, "eight_bit": True,
    }  # fmt: skip
    return ExamplesCell(**(fields | changes))


def made(bank, cell: ExamplesCell) -> tuple[torch.Tensor, dict]:
    made = EXAMPLES.evaluate(cell, EXAMPLES.load(cell, here(bank)))
    return made.tensors["images"], made.columns


def here(bank: Bank) -> Place:
    return Place("cpu", 1, bank, str)


PGD = Attack.with_defaults("pgd", eps_255=16.0, n_steps=4, n_restarts=2)


@pytest.mark.parametrize(("front", "n_samples"), [("none", 0), (TABLE, 0), ("smooth8", 3)], ids=str)
def test_examples_are_those_of_the_attack_on_the_whole_defence(
    bank, content, pieces, front, n_samples
):
    found, columns = made(bank, cell_of(pieces, PGD, front=front, n_samples=n_samples))
    through = Defended(defence_by_name(front), lenet())
    expected = attacks.on_images(
        PGD, partial(through, rounding=codec.round_through), content["images"], content["labels"],
        image_ids=content["ids"].tolist(), seed=3, n_samples=n_samples,
    )  # fmt: skip
    expected = attacks.round_within(expected, content["images"], eps_255=16.0)
    assert torch.equal(found, expected)
    change = (found.double() - content["images"].double()).flatten(1)
    np.testing.assert_allclose(columns["l2_255"], change.norm(dim=1), rtol=1e-6)
    np.testing.assert_allclose(columns["linf_255"], change.abs().amax(1), rtol=1e-6)
    assert change.abs().max() > 8


def test_blocks_do_not_change_examples(bank, pieces):
    whole, _ = made(bank, cell_of(pieces, PGD, front="smooth8", n_samples=2))
    parts = [
        made(bank, cell_of(pieces, PGD, front="smooth8", n_samples=2, first=f, count=8))[0]
        for f in (0, 8, 16)
    ]
    assert torch.equal(whole, torch.cat(parts))


def score_cell(pieces) -> scores.Cell:
    victim = Victim((pieces[0], pieces[0]), ("", TABLE), "smooth40")
    return scores.Cell(
        data="digits", side=8, fingerprint="f", model="m", seed=3, precision="fp32", defence="d",
        networks=victim.networks, tables=victim.tables, front=victim.front, threat="none",
        attack="none", norm="linf", eps_255=0.0, n_steps=0, n_restarts=0, n_samples=0,
        split="report", piece=pieces[1], first=4, count=12,
    )  # fmt: skip


def undecided(content) -> models.Normalised:
    """A network whose answer hangs on the draw."""
    network = lenet()
    with torch.no_grad():
        logits = network(content["images"] / 255)
        list(network.parameters())[-1][1] += (logits[:, 0] - logits[:, 1]).median()
    return network


def predicted_alone(network, content, i: int, *stream: object) -> int:
    table, noise = qtable.by_name(TABLE), defence_by_name("smooth40")
    with torch.inference_mode():
        image = content["images"][i : i + 1] / 255
        seen = noise(image, [seeds.generator(3, int(content["ids"][i]), *stream)])
        mean = network(seen).softmax(1) + network(codec.compress(seen, table)).softmax(1)
    return int(mean.argmax())


def test_scores_are_those_of_one_image_at_a_time(bank, content, pieces):
    cell, study = score_cell(pieces), scores.study("scores", 2)
    columns = study.evaluate(cell, study.load(cell, here(bank)))
    expected = [predicted_alone(lenet(), content, i) for i in range(4, 16)]
    assert columns["predicted"].tolist() == expected
    assert columns["image"].tolist() == content["ids"][4:16].tolist()


@pytest.mark.parametrize("n_draws", [0, 2])
def test_rows_say_of_what_chain_a_victim_is(bank, pieces, n_draws):
    cell, study = score_cell(pieces), scores.study("scores", 2)
    if n_draws:
        cell, study = scores.drawn(cell, n_draws), scores.drawn_study("draws")
    two = [chains.Member("M", pieces[0], ""), chains.Member("M90", pieces[0], TABLE, 90, 8.0)]
    for members, expected in ((two, ("M+M90", None, 8.0)), (two[1:], ("M90", 90, 8.0)),
                              (two[:1], ("M", None, None))):  # fmt: skip
        victim = Victim(cell.networks, cell.tables, cell.front, chains.origin(members))
        assert victim == Victim(cell.networks, cell.tables, cell.front)  # the cell is the same
        of_chain = scores.told(study, {"d": victim, "e": Victim((), ())})
        for asked, said in ((cell, expected), (replace(cell, defence="e"), (None, None, None))):
            columns = of_chain.evaluate(asked, study.load(cell, here(bank)))
            rows = schema.rows_table(
                study.schema(), study=study.name, version=1, cell=asked, columns=columns, made=MADE
            ).to_pandas()
            rows = rows[["member", "quality", "sigma_255"]].astype(object)
            assert len(rows) == 12 * max(1, n_draws)
            assert {tuple(row) for row in rows.where(rows.notna(), None).to_numpy()} == {said}


def test_of_several_draws_each_is_a_row_and_has_a_stream_of_its_own(bank, content, pieces):
    network, study = undecided(content), scores.drawn_study("draws")
    piece, _ = bank.put(*models.to_tensors(network))
    cell = scores.drawn(score_cell((piece, pieces[1])), 5)
    columns = study.evaluate(cell, study.load(cell, here(bank)))
    rows = [(i, draw) for i in range(4, 16) for draw in range(5)]
    assert study.n_rows(cell) == len(rows)
    assert columns["predicted"].tolist() == [
        predicted_alone(network, content, i, "scored", draw) for i, draw in rows
    ]
    assert columns["draw"].tolist() == [draw for _, draw in rows]
    for name, own in (("image", content["ids"]), ("label", content["labels"])):
        assert columns[name].tolist() == [int(own[i]) for i, _ in rows]
    assert len({tuple(d) for d in columns["predicted"].reshape(12, 5).T.tolist()}) > 1


@pytest.fixture
def at_once(monkeypatch) -> list[int]:
    return train_at_once(monkeypatch)


QUICK = {
    "--model": ["lenet"], "--epochs": ["1"], "--report-benign": ["6"], "--gray": ["fgsm@8"],
    "--black": [], "--white": ["fgsm@8"], "--defences": ["none", "smooth8"],
    "--table": ["k3-of16-af51"],
}  # fmt: skip


def threat_table(folder, **changes) -> int:
    flags = QUICK | {f"--{name}": [str(v) for v in values] for name, values in changes.items()}
    words = [word for flag, values in flags.items() for word in (flag, *values)]
    return main(JOB, ["--here", "--store", str(folder), *words])


def test_runs_train_from_seeds_of_their_own_and_draws_are_kept(tmp_path, at_once, capsys):
    assert threat_table(tmp_path, runs=[2], draws=[3], black=["fgsm@8"]) == 0
    text = capsys.readouterr().out
    assert "( ): the least and the most of 2 runs" in text
    assert "what draws at random: mean of 3 draws" in text
    assert at_once == [0, seeds.derived(0, "surrogate"), 1, seeds.derived(1, "surrogate")]
    assert len(results.load("threat_table", store=tmp_path)) == 2 * 6 * 2 * 4
    drawn = results.load("threat_draws", store=tmp_path)
    assert len(drawn) == 2 * 6 * 3 * 4  # runs, images, draws; benign and three boxes
    assert drawn["cell_id"].nunique() == 2 * 4
    assert set(drawn["defence"].astype(str)) == {"smooth8"}


def test_a_smoke_run_of_defences_that_draw_nothing_scores_them_once(tmp_path, at_once):
    assert threat_table(tmp_path, smoke=[], defences=["none", "jpeg75"]) == 0
    assert "draw" not in results.load("threat_table", store=tmp_path)
    assert at_once


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"draws": [3], "defences": ["none", "jpeg75"]}, "that draw at random"),
        ({"runs": [2], "model": ["resnet18"]}, "trains the network anew, and resnet18"),
    ],
)
def test_runs_and_draws_that_would_be_alike_are_refused(tmp_path, at_once, capsys, changes, said):
    assert threat_table(tmp_path, **changes) == 2
    assert said in capsys.readouterr().err
    assert not at_once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fgsm@2", ("fgsm", 2.0, 1, 1)),
        ("pgd@8x50x5", ("pgd", 8.0, 50, 5)),
        ("pgd@0.5", ("pgd", 0.5, 10, 1)),
        ("cw:confidence=5@300x20", ("cw:confidence=5", 300.0, 20, 1)),
        ("bpda", ("bpda", 707.0, 1000, 1)),  # 0.05 of 32 x 32 x 3 pixels
    ],
)
def test_attacks_are_read(text, expected):
    attack = attacks.parse_attack(text, channels=3, side=32)
    assert (attack.name, attack.eps_255, attack.n_steps, attack.n_restarts) == expected


@pytest.mark.parametrize("text", ["pgd@", "pgd@8x", "pgd@x5", "nothing@2", "fgsm@2x5", "pgd@-1"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="Hint"):
        attacks.parse_attack(text, channels=3, side=32)


@pytest.mark.parametrize(
    ("names", "said"),
    [(("none", "none"), "each once"), ((), "got none"), (("nothing",), "no defence")],
)
def test_defences_are_checked_before_anything_is_trained(names, said):
    with pytest.raises(InputError, match=said):
        check_names(names, ("M",))
    with pytest.raises(InputError, match="expected members among"):
        check_names(("none",), ("M", "M95"))


def test_scores_are_computed_in_the_precision_that_their_rows_name(bank, pieces):
    fields = {
        "data": "digits", "side": 8, "fingerprint": "f", "model": "m", "seed": 3, "defence": "d",
        "networks": (pieces[0],), "tables": (TABLE,), "front": "none", "threat": "none",
        "attack": "none", "norm": "linf", "eps_255": 0.0, "n_steps": 0, "n_restarts": 0,
        "n_samples": 0, "split": "report", "piece": pieces[1], "first": 0, "count": N,
    }  # fmt: skip
    study, pixels = scores.study("scores", 2), images_of(N)["images"] / 255
    outputs = {}
    for precision in ("fp32", "bf16"):
        cell = scores.Cell(**fields, precision=precision)
        victim, *_ = study.load(cell, here(bank))
        with torch.inference_mode():
            outputs[precision] = victim(pixels)
    assert outputs["bf16"].dtype == torch.float32
    assert not torch.equal(outputs["bf16"], outputs["fp32"])
    torch.testing.assert_close(outputs["bf16"], outputs["fp32"], atol=0.05, rtol=0.05)
