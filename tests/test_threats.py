"""Studies of threats: the bank against a plain loop, and the signs of a masked gradient."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import Linear, lenet

from core import attacks, codec, models, seeds
from core.attacks import Attack
from core.codec import qtable
from core.defences import Defended, defence_by_name
from core.errors import InputError
from jobs.threat_table import check_names
from results import png
from results.counts import worst_case
from results.files import Root
from results.threats import Column, Outcomes, masked, outcomes, threat_answer
from search import scores
from search.engine.bank import Bank
from search.engine.study import Place
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


def test_scores_are_those_of_one_image_at_a_time(bank, content, pieces):
    victim = Victim((pieces[0], pieces[0]), ("", TABLE), "smooth8")
    cell = scores.Cell(
        data="digits", side=8, fingerprint="f", model="m", seed=3, precision="fp32", defence="d",
        networks=victim.networks, tables=victim.tables, front=victim.front, threat="none",
        attack="none", norm="linf", eps_255=0.0, n_steps=0, n_restarts=0, n_samples=0,
        split="report", piece=pieces[1], first=4, count=12,
    )  # fmt: skip
    study = scores.study("scores", 2)
    columns = study.evaluate(cell, study.load(cell, here(bank)))
    network, table, noise = lenet(), qtable.by_name(TABLE), defence_by_name("smooth8")
    expected = []
    with torch.inference_mode():
        for i in range(4, 16):
            image = content["images"][i : i + 1] / 255
            seen = noise(image, [seeds.generator(3, int(content["ids"][i]))])
            mean = network(seen).softmax(1) + network(codec.compress(seen, table)).softmax(1)
            expected.append(int(mean.argmax()))
    assert columns["predicted"].tolist() == expected
    assert columns["image"].tolist() == content["ids"][4:16].tolist()


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
    network, content = Linear(), images_of(150)
    with torch.no_grad():
        labels = network(content["images"] / 255).argmax(1)
    defended = Defended(defence_by_name("k3-of4-af4"), network)
    few = Attack.with_defaults("pgd", eps_255=EPS, step_255=EPS / 20, n_steps=2)
    many = Attack.with_defaults("pgd", eps_255=EPS, n_steps=20)

    def right(attack, function) -> np.ndarray:
        attacked = attacks.on_images(
            attack, function, content["images"], labels,
            image_ids=content["ids"].tolist(), seed=0,
        )  # fmt: skip
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
    assert "eps ≤ 8  a                       +2 [+0, +4]  p 0.062" in found.text
    quiet = threat_answer(rows_of(own), ["none", "a"], title="t", judged=False).text
    assert "breaks" not in quiet
    assert "McNemar" not in quiet


def test_the_worst_case_is_one_row_an_image_wrong_where_any_is():
    rows = rows_of(
        {("a", FEW): np.array([1, 1, 0, 0], bool), ("a", MANY): np.array([1, 0, 1, 0], bool)}
    )
    worst = worst_case(rows, ["defence"]).sort_values("image")
    assert worst["image"].tolist() == [0, 1, 2, 3]
    assert (worst["predicted"] == worst["label"]).tolist() == [True, False, False, False]


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
