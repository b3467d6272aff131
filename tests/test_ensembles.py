"""The tuned ensemble's answer: queries against plain loops, and the job from end to end."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import results
import search.job
from core.defences import subsets
from core.defences.ensemble import Ensemble
from core.known import MEMBERS
from jobs import ensemble_tune
from results import png, stats
from results import tuned as answers
from results.files import Root
from results.store import Store
from results.tuned_picture import tuning_figure
from search import Lab
from search.engine.bank import Bank
from search.engine.here import Here
from search.flags import parse
from search.inputs import loading
from search.later import import_now

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--model", "lenet5", "--epochs", "4", "--benign", "60", "--adversarial", "20",
    "--report-benign", "60", "--report-adversarial", "20", "--sigma-255", "0,32",
    "--xi-percent", "90", "--qs-af", "116", "--max-decline", "3.4",
    "--white", "worst@8x2", "--white-images", "9",
]  # fmt: skip


def test_a_difference_of_shares_has_newcombes_published_interval():
    # 56/70 - 48/80, Newcombe 1998, table II, method 10: 0.0524 to 0.3339.
    low, high = stats.share_difference(56, 70, 48, 80)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    other = stats.share_difference(48, 80, 56, 70)
    assert other == pytest.approx((-high, -low))


def right_of(n_candidates: int, n_images: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n_candidates, n_images)) < 0.5


def test_one_candidate_has_no_optimism_and_many_coins_have_what_they_seem_to_gain():
    benign, undefended = np.ones((400, 50), dtype=bool), np.ones(50, dtype=bool)
    members = np.ones(400, dtype=np.int64)
    coins = right_of(400, 100, seed=0)
    one = answers.optimism(
        benign[:1], coins[:1], undefended, members[:1], most_lost=0, n_resamples=400
    )
    # The mean of 400 resamples of 100 images: standard error 5/20 points.
    assert abs(one.points) < 1.0
    many = answers.optimism(benign, coins, undefended, members, most_lost=0)
    gained = 100 * coins.mean(axis=1).max() - 50  # every coin is worth 50 %
    # Resamples repeat images, so the bootstrap sees less than the whole of it, but much.
    assert 0.25 * gained < many.points < gained
    assert many.share_broken == 0


def test_optimism_obeys_the_limit_on_the_images_that_choose():
    # Candidate 1 defends more and loses 5 of 50 benign images: it may win by luck alone.
    benign = np.ones((2, 50), dtype=bool)
    benign[1, :5] = False
    adversarial = np.stack([np.arange(100) < 50, np.arange(100) < 90])
    undefended, members = np.ones(50, dtype=bool), np.array([1, 1])
    found = answers.optimism(benign, adversarial, undefended, members, most_lost=2)
    # Binomial(50, 0.1) is at most 2 with a chance of 0.112; 200 resamples.
    assert 0.03 < found.share_broken < 0.22
    free = answers.optimism(benign, adversarial, undefended, members, most_lost=50)
    assert free.share_broken == 0


def run(store: Path, *flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "jobs/ensemble_tune.py"), *FLAGS, *flags]
    done = subprocess.run(
        [*command, "--store", str(store)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> tuple[Path, str]:
    store = tmp_path_factory.mktemp("tuned")
    return store, run(store, "--until", "2").stdout


def test_a_tuned_study_answers_again_without_computing(tuned):
    store, said = tuned
    again = run(store, "--until", "2", "--figure")
    assert again.stdout == said
    (written,) = (path.read_text() for path in store.glob("answers/*/answer.txt"))
    assert max(map(len, written.splitlines())) <= 80
    assert "Ray ready" not in again.stderr
    for name in (
        "winner",
        "held-out report",
        "optimism",
        "tuning minus report",
        "white box",
        "study",
    ):
        assert name in said
    states = results.Store(results.store.Root(store)).states()
    (state,) = [state for state in states if state["study"] == "ensemble_tune"]
    assert (state["state"], state["n_done"]) == ("complete", 2)


@pytest.mark.parametrize(
    ("study", "table"), [("ensemble", "k3-of16-af51"), ("another", "k9-of16-af16")]
)
def test_a_study_goes_on_behind_its_own_table(study, table, tuned, monkeypatch):
    import_now(vars(search.job))  # a search in the same store has found another one since
    monkeypatch.setattr(search.job, "usual_table", lambda *_: "k9-of16-af16")
    store, seen = Store(Root(str(tuned[0]))), []
    asked = parse(ensemble_tune.Asked, name="t", question="", argv=[*FLAGS, "--study", study])
    job = replace(ensemble_tune.JOB, run=lambda _, asked: seen.append(asked.table))
    with pytest.raises(AttributeError):  # no answer
        job.answer(Lab(Here(store, 1.0, False), asked), asked)
    assert seen == [table]


def test_the_rows_are_those_of_running_each_ensemble(tuned):
    store, _ = tuned
    rows = results.load("ensemble_tune", store=store)
    assert len(rows) == 2 * 255
    chains = results.load("chain", store=store)
    bank = Bank(results.store.Root(store))
    benign = results.load("benign", store=store)
    benign = benign[benign["split"] == "search"]
    images = loading.images_of(bank, benign["piece"].iloc[0])
    named = results.load("member_outputs", store=store).drop_duplicates("weights")
    joined = named.merge(chains.drop_duplicates("piece"), left_on="weights", right_on="piece")
    assert len(joined) == 2 * (len(MEMBERS) - 1)
    for name in ("member", "quality", "sigma_255"):
        assert joined[f"{name}_x"].astype(str).tolist() == joined[f"{name}_y"].astype(str).tolist()
    white = results.load("ensemble_white", store=store)
    (file,) = (store / "answers").glob("ensemble-*/ensemble.safetensors")
    used = "+".join(Ensemble.load(file).names)
    assert set(white[white["defence"] == "tuned"]["member"]) == {used}
    assert white[white["defence"] == "none"]["member"].isna().all()
    for chain, lines in rows.groupby("chain", observed=True):
        outputs = results.load("member_outputs", store=store)
        outputs = outputs[(outputs["subject"] == "benign") & (outputs["split"] == "search")]
        trained = chains[chains["cell_id"] == chain].drop_duplicates("member")
        weights = [lines["weights"].iloc[0], *trained["piece"]]
        said = []
        for piece in weights:
            found = outputs[outputs["weights"] == piece].iloc[0]
            said.append(bank.get(found["piece"])[0]["outputs"].double().numpy())
        for line in lines.sample(12, random_state=0).itertuples():
            used = [MEMBERS.index(name) for name in line.members.split("+")]
            mean = np.mean([said[i] for i in used], axis=0)
            assert (mean.argmax(1) == images.labels.numpy()).sum() == line.n_benign_right
            assert subsets.names(int(line.subset), MEMBERS) == tuple(line.members.split("+"))


def test_the_winner_is_the_best_feasible_row_and_its_file_says_what_the_report_says(tuned):
    store, said = tuned
    rows = results.load("ensemble_tune", store=store)
    lost = rows["n_benign_right_undefended"] - rows["n_benign_right"]
    best = max(
        rows[100 * lost < 3.4 * 60].itertuples(),
        key=lambda row: (row.n_adversarial_right, -row.n_members, row.n_benign_right, -row.subset),
    )
    winner = said.split("winner")[1].split()[0]
    assert winner == best.members
    (folder,) = (store / "answers").glob("ensemble-*")
    ensemble = Ensemble.load(folder / "ensemble.safetensors")
    assert "+".join(ensemble.names) == winner
    report = results.load("ensemble_report", store=store)
    report = report[(report["members"] == winner) & (report["chain"] == best.chain)]
    for subject, lines in report.groupby("subject", observed=True):
        known = results.load(subject, store=store)
        piece = known[known["split"] == "report"]["piece"].iloc[0]
        images = loading.images_of(Bank(results.store.Root(store)), piece)
        with torch.no_grad():
            predicted = ensemble(images.images).argmax(1)
        expected = dict(zip(images.ids.tolist(), predicted.tolist(), strict=True))
        found = lines.drop_duplicates("image").set_index("image")["predicted"].to_dict()
        assert {int(i): int(p) for i, p in found.items()} == expected


def test_files_are_written(tuned):
    store, _ = tuned
    (folder,) = (store / "answers").glob("ensemble-*")
    assert (folder / "tuning.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_parquet(folder / "trials.parquet")) == 2
    assert len(pd.read_parquet(folder / "front.parquet")) >= 1
    journal = JournalStorage(JournalFileBackend(str(store / "tuning/ensemble.journal")))
    study = optuna.load_study(study_name="ensemble", storage=journal)
    assert store / study.user_attrs["ensemble"] == folder / "ensemble.safetensors"
    for trial in study.trials:
        assert trial.value == pytest.approx(trial.user_attrs["def_percent"], abs=100 / 20 / 2)


def studied(*, lost: int, undefended: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of a study of one chain whose subsets lose so many benign images, and held-out rows.

    M takes every held-out adversarial image, of class 1, for class `undefended`.
    """
    names = ["+".join(subsets.names(n, MEMBERS)) for n in range(1, 2 ** len(MEMBERS))]
    tuning = pd.DataFrame({
        "cell_id": "c", "finished_at": pd.Timestamp("2026-01-01", tz="UTC"), "chain": "c",
        "sigma_255": 8.0, "xi": 0.9, "qs_af": 41, "subset": range(1, len(names) + 1),
        "members": names, "n_members": [name.count("+") + 1 for name in names], "n_benign": 60,
        "n_benign_right_undefended": 50, "n_benign_right": 50 - lost, "n_adversarial": 20,
        "n_adversarial_right": 10,
    })  # fmt: skip
    held_out = pd.DataFrame({
        "chain": "c", "members": np.repeat(["M", names[1], answers.PAPER, names[2]], 20),
        "subject": ["benign", "adversarial"] * 40,
        "label": 1, "undefended": 1, "predicted": 1,
    })  # fmt: skip
    held_out["image"] = held_out.groupby(["members", "subject"]).cumcount()
    held_out.loc[held_out["subject"] == "adversarial", "undefended"] = undefended
    counts = [n for n in tuning.columns if n.startswith("n_") or n in ("qs_af", "subset")]
    whole = ["image", "label", "undefended", "predicted"]
    return tuning.astype(dict.fromkeys(counts, "Int32")), held_out.astype(
        dict.fromkeys(whole, "Int32")
    )


@pytest.mark.parametrize("lost", [0, 50])
@pytest.mark.parametrize("undefended", [0, 1])
def test_an_answer_is_given_where_no_example_succeeds_or_no_subset_keeps_the_limit(
    lost, undefended
):
    tuning, held_out = studied(lost=lost, undefended=undefended)
    front = np.ones(len(tuning), dtype=bool)
    found = answers.tuned(tuning, front, max_decline_points=1.0)
    roles = ("none", "single", "paper", "tuned")
    of = dict(zip(roles, (("c", m) for m in held_out["members"].unique()), strict=True))
    lines = answers.held_out_rows(held_out, of)
    expected = answers.Optimism(points=0.0, share_broken=0.0, n_resamples=1)
    text = answers.answer_text(found, lines, expected, max_decline_points=1.0)
    below = text[text.index("Def successful") :]  # the lower table's last column
    for row in [line for line in below.splitlines() if line.startswith(("  M alone", "  tuned"))]:
        assert row.split()[-1] == ("-" if undefended == 1 else "100.0]")
    png(tuning_figure(found, {}, title="t"))
    assert found.winner["feasible"] == (lost == 0)
