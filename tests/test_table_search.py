"""The table search end to end on bundled digits: exact, resumable, answered, exported."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import results
from core import codec
from core.codec import qtable
from core.data import open_data, sources
from core.defences.transform import TableDefence
from jobs import qtable_search
from results import schema
from results.files import Root
from search import Lab, again
from search.engine.bank import Bank
from search.engine.engine import Engine
from search.engine.study import Place
from search.flags import parse
from search.inputs import images as made_of
from search.inputs import loading
from search.tables.tally import grid

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--model", "lenet5", "--epochs", "4", "--patterns", "1,3,14", "--qs-af", "1,16,61,121",
    "--benign", "120", "--adversarial", "50", "--report-benign", "70", "--report-adversarial", "30",
    "--block", "20", "--eps-255", "20", "--max-decline", "5",
]  # fmt: skip


def run(*flags: str, check: int | None = 0, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "jobs/qtable_search.py"), *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, **options
    )
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    store = tmp_path_factory.mktemp("searched")
    return store, run(*FLAGS, "--store", str(store))


def outcomes(store: Path, study: str = "qtable_search", strategy: str = "") -> pd.DataFrame:
    rows = results.load(study, store=store).drop(columns=list(schema.MEASURED))
    rows = rows[rows["sweep"].str.contains("best-first") == bool(strategy)]
    rows = rows.astype({n: str for n in rows.columns if rows[n].dtype == "category"})
    return rows.sort_values(["subject", "image", "table"]).reset_index(drop=True)


def question(store: Path, *flags: str) -> qtable_search.Question:
    asked = parse(qtable_search.Asked, name="", question="", argv=[*FLAGS, *flags])
    engine = Engine(results.Store(Root(store)), stored_only=True)
    return qtable_search.ask(Lab(engine, asked), asked)


def imported(said: str) -> set[str]:
    """Top-level modules, as Python's own import times name them."""
    return set(re.findall(r"\| +([a-z]+)$", said, re.MULTILINE))


def test_a_search_that_was_answered_is_answered_without_torch(searched):
    store, first = searched
    tell = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    same = run(*FLAGS, "--store", str(store), "--here", env=tell)  # where cells run is no question
    assert same.stdout == first.stdout
    assert "nothing has changed since this was answered" in same.stderr
    assert not {"torch", "numpy", "pyarrow", "ray"} & imported(same.stderr)


def test_no_kept_answer_outlives_what_it_came_from(searched):
    store, first = searched
    (note,) = (store / "answered").iterdir()
    assert again.kept(note) == first.stdout.rstrip("\n")
    sweep = question(store).sweep
    rows = sorted(store.glob(f"rows/study=*/sweep={sweep}/*.parquet"))
    benign = next(store.glob("rows/study=benign/*/*.parquet"))
    answer = store / "answers" / sweep / "surface.png"
    for file in (rows[0], rows[-1], benign, answer, note):
        whole = file.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for damaged in (whole[:-1], flipped, None):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            assert again.kept(note) is None, file
        file.write_bytes(whole)
        assert again.kept(note) is not None
    (rows[0].parent / "another.parquet").write_bytes(b"")
    assert again.kept(note) is None
    (rows[0].parent / "another.parquet").unlink()


def test_another_question_data_set_code_or_place_is_another_note(monkeypatch, tmp_path):
    asked = parse(qtable_search.Asked, name="", question="", argv=["--store", str(tmp_path)])
    script, edited = (tmp_path / folder / "search.py" for folder in ("as it was", "edited"))
    for file in (script, edited):
        file.parent.mkdir()
        file.write_text(f"print({file.parent.name!r})")
    names = {again.note_of(script, asked), again.note_of(edited, asked)}
    names.add(again.note_of(script, replace(asked, max_decline=4.0)))
    for what, other in (("fingerprint", "of other code"), ("_packages", ["numpy-9.dist-info"])):
        with monkeypatch.context() as changed:
            changed.setattr(again, what, lambda other=other: other)
            names.add(again.note_of(script, asked))
    monkeypatch.chdir(tmp_path)
    names.add(again.note_of(script, asked))
    assert len(names) == 6
    for spec, n in (("digits", 1), ("photos", 10), ("cifar10", 1), ("imagefolder:/x", 0)):
        assert len(sources(spec)) == n
    remote = replace(asked, store="s3://bucket/x")
    assert not any(again.note_of(script, a) for a in (remote, replace(asked, figure=True)))


def test_every_outcome_is_that_of_a_plain_slow_loop(searched):
    # One table, one batch of images; no cell, no Ray, no shared DCT, no picture skipped.
    store, _ = searched
    asked = question(store)
    bank = Bank(Root(store))
    network = loading.classifier_of(bank, asked.weights, "cpu", "fp32")
    rows = outcomes(store)
    n_checked = 0
    for piece in asked.of("search"):
        images = loading.images_of(bank, piece.name)
        for defensive in (t for row in grid((1, 3, 14), (1, 16, 61, 121), 16) for t in row):
            with torch.no_grad():
                seen = codec.compress(images.images / 255, defensive.table())
                predicted = network(seen).argmax(1)
            ours = rows[(rows["table"] == defensive.name) & (rows["subject"] == piece.subject)]
            ours = ours.set_index("image").loc[images.ids.tolist()]
            assert ours["predicted"].tolist() == predicted.tolist()
            assert ours["label"].tolist() == images.labels.tolist()
            assert ours["undefended"].tolist() == network(images.images / 255).argmax(1).tolist()
            n_checked += len(ours)
    assert n_checked == len(rows) == 12 * 170


def test_images_are_the_data_sets_and_examples_are_of_correct_images_within_budget(searched):
    store, _ = searched
    asked, bank = question(store), Bank(Root(store))
    source = open_data("digits")
    made = {(p.split, p.subject): loading.images_of(bank, p.name) for p in asked.pieces}
    for split in ("search", "report"):
        benign, attacked = made[split, "benign"], made[split, "adversarial"]
        images, labels = source.batch(split, benign.ids.tolist())
        assert torch.equal(images, benign.images)
        assert torch.equal(labels, benign.labels)
        original, _ = source.batch(split, attacked.ids.tolist())
        change = (attacked.images.int() - original.int()).abs()
        assert change.max() == 20
        right = dict(zip(benign.ids.tolist(), (benign.undefended == benign.labels), strict=True))
        assert all(right[image] for image in attacked.ids.tolist())


def test_rows_are_typed_and_tell_where_they_come_from(searched):
    store, _ = searched
    frame = pd.read_parquet(store / "rows" / "study=qtable_search")
    assert len(frame) == 12 * 170
    assert frame["eps_255"].eq(20.0).all()
    assert frame["commit"].str.fullmatch(r"[0-9a-f]{12}(\+dirty)?|unknown").all()
    assert frame["versions"].str.contains("torch=").all()
    for name in ("hardware", "host", "data", "model", "attack", "fingerprint"):
        assert frame[name].astype(str).str.len().gt(0).all(), name
    assert frame["wall_s"].gt(0).all()
    assert frame["finished_at"].dt.year.gt(2025).all()
    assert set(frame["split"]) == {"search"}


def test_the_answer_is_printed_written_and_drawn(searched):
    store, done = searched
    best = results.winner(results.load("qtable_search", store=store), max_decline_points=5)
    assert best.table in done.stdout
    for name in ("none", "ijg75", "uniform16"):
        assert name in done.stdout
    answers = store / "answers" / question(store).sweep
    surface = pd.read_parquet(answers / "surface.parquet")
    assert len(surface) == 12
    assert len(pd.read_parquet(answers / "report.parquet")) == 4
    assert (answers / "surface.png").read_bytes().startswith(b"\x89PNG")
    assert best.table in (answers / "answer.txt").read_text()
    table = qtable.load(answers / "winner.qtable.txt")
    assert torch.equal(table, qtable.by_name(best.table))
    assert torch.equal(TableDefence.load(answers / "winner.qtable.txt").table, table)


def test_the_report_uses_images_that_the_search_has_not_seen(searched):
    store, _ = searched
    report = outcomes(store, "qtable_report")
    assert set(report["split"]) == {"report"}
    assert len(report) == 4 * 100
    asked = question(store)
    bank = Bank(Root(store))
    pictures = [
        {image.numpy().tobytes() for image in loading.images_of(bank, p.name).images}
        for p in asked.pieces
        if p.subject == "benign"
    ]
    assert not pictures[0] & pictures[1]


def test_a_finished_search_computes_nothing_and_redraws_the_same(searched):
    store, first = searched
    answers = store / "answers" / question(store).sweep
    before = {path.name: path.read_bytes() for path in answers.iterdir()}
    (answers / "surface.png").unlink()
    same = run(*FLAGS, "--store", str(store), "--figure")
    assert same.stdout == first.stdout
    assert "Ray ready" not in same.stderr
    assert {path.name: path.read_bytes() for path in answers.iterdir()} == before


def test_best_first_finds_the_same_winner(searched):
    store, _ = searched
    done = run(*FLAGS, "--here", "--store", str(store), "--strategy", "best-first")
    asked = question(store, "--strategy", "best-first")
    for ours, ordered in zip(asked.of("search"), asked.in_order, strict=True):
        assert ours.images.tolist() != ordered.images.tolist()
        place = ours.images.argsort()[np.argsort(ordered.images.argsort())]
        for known in ("images", "labels", "undefended"):
            assert getattr(ordered, known).tolist() == getattr(ours, known)[place].tolist()
    best = results.winner(
        results.load("qtable_search", store=store).pipe(
            lambda rows: rows[~rows["sweep"].str.contains("best-first")]
        ),
        max_decline_points=5,
    )
    assert best.table in done.stdout
    few = outcomes(store, strategy="best-first")
    assert set(few["piece"]) <= {piece.name for piece in asked.in_order}
    keys = ["subject", "image", "table"]
    both = few.merge(outcomes(store), on=keys, suffixes=("", "_exhaustive"))
    assert 0 < len(both) == len(few)
    assert (both["predicted"] == both["predicted_exhaustive"]).all()


def test_best_first_asks_images_in_order_of_their_margins_behind_the_step_of_the_favoured_band(
    searched,
):
    store, _ = searched
    asked, bank = question(store), Bank(Root(store))
    network = loading.classifier_of(bank, asked.weights, "cpu", "fp32")
    for piece in asked.of("search"):
        cell = made_of.OrderedCell(
            **asked.inputs.fields(), weights=asked.weights, split="search", subject=piece.subject,
            images=piece.name, count=len(piece.images), codec="uniform16",
        )  # fmt: skip
        study = made_of.ORDERED
        made = study.evaluate(cell, study.load(cell, Place("cpu", 1, bank, str)))
        before = loading.images_of(bank, piece.name)
        places = [before.ids.tolist().index(i) for i in made.tensors["ids"].tolist()]
        for name, tensor in made.tensors.items():  # the same, in another order
            assert torch.equal(tensor, getattr(before, name)[places])
        assert sorted(places) == list(range(len(piece.images))) != places
        with torch.no_grad():
            seen = network(codec.compress(made.tensors["images"] / 255, qtable.uniform(16)))
        labels = made.tensors["labels"][:, None]
        margins = seen.gather(1, labels) - seen.scatter(1, labels, -np.inf).amax(1, keepdim=True)
        assert np.allclose(made.columns["margin"], margins[:, 0], atol=1e-4)
        assert (np.diff(made.columns["margin"]) >= 0).all()


def test_a_search_killed_at_a_random_moment_ends_with_the_same_rows(searched, tmp_path):
    store, _ = searched
    chance = np.random.default_rng(int(time.time()))
    command = [
        sys.executable,
        str(ROOT / "jobs/qtable_search.py"),
        *FLAGS,
        "--store",
        str(tmp_path),
    ]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a fast machine may be done
        driver.wait(chance.uniform(5, 20))
    driver.kill()
    driver.wait()
    run(*FLAGS, "--here", "--store", str(tmp_path))
    for study in ("qtable_search", "qtable_report"):
        pd.testing.assert_frame_equal(outcomes(tmp_path, study), outcomes(store, study))


def test_a_changed_piece_is_set_aside_and_made_again(searched, tmp_path):
    store, _ = searched
    subprocess.run(["cp", "-r", f"{store}/.", str(tmp_path)], check=True)
    asked = question(tmp_path)
    piece = next(p for p in asked.pieces if p.subject == "adversarial")
    path = tmp_path / "bank" / f"{piece.name}.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-5] + bytes(5))
    (tmp_path / "rows").rename(tmp_path / "old")
    for study in ("classifier", "benign", "adversarial"):
        target = tmp_path / "rows" / f"study={study}"
        target.parent.mkdir(exist_ok=True)
        (tmp_path / "old" / f"study={study}").rename(target)
    failed = run(*FLAGS, "--here", "--store", str(tmp_path), check=1)
    assert "is torn or was changed" in failed.stderr
    assert "Hint: the same command" in failed.stderr
    assert not path.exists()
    run(*FLAGS, "--here", "--store", str(tmp_path))
    assert path.read_bytes() == data
    pd.testing.assert_frame_equal(outcomes(tmp_path), outcomes(store))


def test_smoke_runs_two_cells_in_a_throwaway_store(tmp_path):
    done = run("--smoke", "--here", cwd=tmp_path)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"table search: 2 cells run", done.stderr)
    assert done.stderr.splitlines()[-1].startswith("smoke passed: ")
    assert "winner" in done.stdout
    assert "/smoke-" not in done.stdout  # no path of what is gone
    assert not list(tmp_path.iterdir())


def test_no_feasible_table_is_an_answer_too(searched):
    store, _ = searched
    asked = dict(zip(FLAGS[::2], FLAGS[1::2], strict=True))
    asked |= {"--max-decline": "0.01", "--patterns": "1", "--qs-af": "121"}
    done = run(*itertools.chain(*asked.items()), "--here", "--store", str(store))
    if "winner" not in done.stdout:
        assert "k1-of16-af121" in done.stdout
        assert "uniform16" in done.stdout.partition("held-out report")[2]


def test_another_limit_is_a_question_to_the_same_rows(searched):
    store, _ = searched
    done = run(*FLAGS[:-2], "--max-decline", "50", "--here", "--store", str(store))
    assert "table search: 0 cells run" in done.stderr
    same = run(*FLAGS, "--store", str(store), "--figure")  # its report is now stored twice
    assert "held-out report" in same.stdout


def test_a_finished_search_answers_among_foreign_files_and_imports_no_more_than_it_needs(searched):
    store, first = searched
    folder = store / "rows/study=qtable_search" / f"sweep={question(store).sweep}"
    (folder / "sub").mkdir()
    (folder / "sub" / "x.parquet").write_text("mine")
    (folder / "_compacting.parquet").write_text("torn")
    tell = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    same = run(*FLAGS, "--store", str(store), env=tell)
    assert same.stdout == first.stdout
    found = imported(same.stderr)
    assert "torch" in found
    assert not {"ray", "torchvision", "matplotlib", "sklearn", "skimage", "optuna"} & found
    (folder / "sub" / "x.parquet").unlink()


def test_an_interrupted_search_says_so_and_goes_on(tmp_path):
    job = str(ROOT / "jobs/qtable_search.py")
    command = [sys.executable, job, *FLAGS, "--store", str(tmp_path)]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in driver.stderr:
        if "Ray ready" in line:
            break
    driver.send_signal(signal.SIGTERM)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "the same command goes on" in said


def test_a_float_example_stays_unrounded(searched):
    store, _ = searched
    asked = question(store)
    rows_bank = Bank(Root(store))
    piece = next(p for p in asked.of("search") if p.subject == "benign")
    cell = made_of.AdversarialCell(
        **asked.inputs.fields(), weights=asked.weights, split="search",
        benign=piece.name, count=5, attack="pgd", eps_255=2.0, step_255=0.5, n_steps=3,
        n_restarts=1, eight_bit=False,
    )  # fmt: skip
    study, place = made_of.ADVERSARIAL, Place("cpu", 1, rows_bank, str)
    images = study.evaluate(cell, study.load(cell, place)).tensors["images"]
    assert images.dtype == torch.float32
    assert ((images * 255).round() != images * 255).any()
