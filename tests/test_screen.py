"""Screened classes are float32's: found in low precision, confirmed where close, audited."""

import copy
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch

import results
from core.codec import qtable, scoring, screen
from core.codec.screen import HOW, Screen
from core.data import open_data
from core.models import lower
from jobs import member_matrix, qtable_search
from results.rowfile import encoded
from results.store import read_checked
from search import main, screening
from search.inputs import loading

TABLES = [None, *(qtable.by_name(f"k{k}-of16-af{q}") for k in (1, 3) for q in (1, 61, 62, 121))]
SMALL = [
    "--here", "--eps-255", "8", "--patterns", "1,3", "--qs-af", "1,61,121", "--benign", "60",
    "--adversarial", "20", "--report-benign", "40", "--report-adversarial", "10",
]  # fmt: skip


def wobble(logits: torch.Tensor, by: float = 0.3) -> torch.Tensor:
    """Logits that lie within `by` of others, as low precision's do; the same for the same."""
    return logits + by * torch.sin(1e4 * logits)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return open_data("digits").batch("search", range(40))[0]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = torch.nn.Flatten(), torch.nn.LazyLinear(10)
        model = torch.nn.Sequential(*layers)
        model(torch.zeros(1, 1, 32, 32))
    return model.eval()


def share(how: torch.Tensor, name: str) -> float:
    return float((how == HOW.index(name)).float().mean())


def test_classes_are_the_exact_ones_where_the_margin_is_wide_enough(network, images):
    exact = scoring.predict(network, images, TABLES).predicted
    screened = Screen(network, lambda pixels: wobble(network(pixels)), margin=0.6)
    found = scoring.predict(screened, images, TABLES)
    assert torch.equal(found.predicted, exact)
    assert not torch.equal(wobbled(network, images), exact)  # low precision alone has others
    assert share(found.how, "missed") == 0
    assert 0 < share(found.how, "confirmed") < 1


def over(logits: torch.Tensor, by: float) -> torch.Tensor:
    """Logits the last of which has overflowed."""
    return torch.cat([logits[:, :-1], torch.full_like(logits[:, -1:], by)], 1)


def wobbled(network, images) -> torch.Tensor:
    return scoring.predict(lambda pixels: wobble(network(pixels)), images, TABLES).predicted


def test_a_network_that_is_never_sure_is_confirmed_everywhere(network, images):
    exact = scoring.predict(network, images, TABLES).predicted
    screened = Screen(network, lambda pixels: wobble(network(pixels)), margin=100.0)
    found = scoring.predict(screened, images, TABLES)
    assert torch.equal(found.predicted, exact)
    assert share(found.how, "confirmed") == 1
    for spoiled in (torch.nan, torch.inf):
        no_number = Screen(
            network, lambda pixels, by=spoiled: over(network(pixels), by), margin=0.0
        )
        assert torch.equal(scoring.predict(no_number, images, TABLES).predicted, exact)


def test_the_audit_sees_and_mends_what_a_margin_of_nothing_misses(network, images, monkeypatch):
    exact = scoring.predict(network, images, TABLES).predicted
    screened = Screen(network, lambda pixels: wobble(network(pixels)), margin=0.0)
    some = scoring.predict(screened, images, TABLES)
    wrong = some.predicted != exact
    assert wrong.any()
    assert (some.how[wrong] == HOW.index("rough")).all()  # those that nobody looked at
    monkeypatch.setattr(screen, "AUDITED", 1.0)
    every = scoring.predict(screened, images, TABLES)
    assert torch.equal(every.predicted, exact)
    assert share(every.how, "missed") > 0


def test_of_equal_pictures_one_is_audited(network, images, monkeypatch):
    monkeypatch.setattr(screen, "AUDITED", 1.0)
    black = torch.zeros_like(images[:3])
    found = scoring.predict(Screen(network, network, margin=0.0), black, TABLES[1:])
    audited = found.how == HOW.index("audited")
    assert audited.sum(1).tolist() == [1, 1, 1]
    assert share(found.how, "confirmed") == 1 - 1 / len(TABLES[1:])


def test_the_margin_covers_what_moved_among_the_likeliest():
    exact = torch.tensor([[3.0, 2.0, -9.0], [1.0, 5.0, 0.0]])
    rough = torch.tensor([[3.1, 2.3, -5.0], [1.0, 5.0, 0.0]])
    assert screen.margin(rough, exact) == pytest.approx(1.5 * 3.9, rel=1e-5)
    assert screen.margin(exact, exact) == 0
    for margin in (0.0, 0.0999, 0.104, 5.0, 96.0):
        assert margin < screen.rounded_up(margin) <= 1.2 * margin + 1e-5


def rows_of(store: Path) -> pd.DataFrame:
    """Every outcome of the search whose answer the store holds last."""
    rows = results.load("qtable_search", store=store)
    rows = rows.astype({name: str for name in rows if rows[name].dtype == "category"})
    return rows.sort_values(["precision", "subject", "image", "table"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("exact")
    assert main(qtable_search.JOB, [*SMALL, "--store", str(store)]) == 0
    return store


@pytest.fixture
def low(monkeypatch):
    """A lower precision that is quick here, and far from exact."""
    monkeypatch.setattr(
        loading.lower, "lowered", lambda model, *_: lambda pixels: wobble(model(pixels), 2.0)
    )


@pytest.mark.usefixtures("low")
def test_a_search_on_a_machine_without_fast_bf16_is_float32s(exact, monkeypatch, capsys):
    monkeypatch.setattr(screening, "FASTER", 0.0)
    argv = [*SMALL, "--precision", "screened", "--store", str(exact)]
    assert main(qtable_search.JOB, argv) == 0
    assert "the search stays with fp32" in capsys.readouterr().err
    assert set(rows_of(exact)["precision"]) == {"fp32"}  # the very rows that were there


@pytest.mark.usefixtures("low")
def test_a_lying_margin_is_found_and_the_search_done_again(exact, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(screening, "FASTER", 1e9)
    monkeypatch.setattr(screen, "AUDITED", 0.5)
    monkeypatch.setattr(screen, "margin", lambda *_: 0.2)
    argv = [*SMALL, "--precision", "screened", "--store", str(tmp_path)]
    assert main(qtable_search.JOB, argv) == 0
    out, said = capsys.readouterr()
    assert "the search is done again as screened:bf16:" in said
    assert "screened" in out
    rows, want = rows_of(tmp_path), rows_of(exact)
    want = want[want["precision"] == "fp32"]
    margins = sorted(set(rows["precision"]))
    assert len(margins) > 1
    last = max(margins, key=lambda name: loading.screening_of(name)[1])
    rows = rows[rows["precision"] == last]
    assert "missed" not in set(rows["decided"])
    same = ["subject", "image", "table", "label", "undefended", "predicted"]
    assert rows[same].reset_index(drop=True).equals(want[same].reset_index(drop=True))


def test_other_studies_refuse_it_in_words(capsys):
    with pytest.raises(SystemExit) as ended:
        main(member_matrix.JOB, ["--precision", "screened"])
    assert ended.value.code == 2
    assert "expected fp32, bf16; got 'screened'" in capsys.readouterr().err


def test_rows_from_before_a_column_that_may_be_empty_are_read():
    old = pa.schema([("cell_id", pa.string()), ("version", pa.int32()), ("a", pa.int32())])
    data = encoded(
        pa.table([["x"], [1], [7]], schema=old.with_metadata({"study": "s", "cell_id": "x"}))
    )
    new = pa.schema([*old, pa.field("b", pa.string())])
    assert read_checked(data, "x.parquet", "s", new, 1).to_pylist() == [
        {"cell_id": "x", "version": 1, "a": 7, "b": None}
    ]
    needed = pa.schema([*old, pa.field("b", pa.string(), nullable=False)])
    with pytest.raises(ValueError, match="columns"):
        read_checked(data, "x.parquet", "s", needed, 1)


def measured(costs: dict[str, float]) -> pd.DataFrame:
    """Rows as the measure of a margin gives them, for kinds of such costs."""
    rows = [
        {"kind": kind, "margin": 0.1, "n_pictures": 100, "n_narrow": 10, "rough_s": cost,
         "exact_s": 1.0, "hardware": "a card"}
        for kind, cost in costs.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_what_confirmations_cost_counts_too():
    rows = measured({"bf16": 0.3, "fp16": 0.35})
    rows.loc[rows["kind"] == "fp16", "n_narrow"] = 1
    bf16, fp16 = (screening._cost(rows[rows["kind"] == kind]) for kind in ("bf16", "fp16"))
    assert bf16 == pytest.approx(0.3 + 0.1 + 1 / 64)
    assert fp16 == pytest.approx(0.35 + 0.01 + 1 / 64)
    rows["margin"] = float("inf")
    assert screening._cost(rows) == float("inf")


@torch.no_grad()
def test_low_precisions_are_measured_on_the_first_pictures_alone_where_slow(monkeypatch, network):
    parts, kinds = [torch.zeros(4, 1, 32, 32)] * 3, {}
    clock = iter(range(1000))
    monkeypatch.setattr(screening.time, "perf_counter", lambda: float(next(clock)))
    exact, exact_s = screening._timed(network, parts)
    kinds["slow"] = screening._row("slow", network, parts, exact, [0.4] * 3)
    kinds["same"] = screening._row("same", network, parts, exact, exact_s)
    assert [kinds[kind]["n_pictures"] for kind in kinds] == [4, 12]
    assert kinds["slow"]["exact_s"] == 0.4


def test_fp16_and_tf32_give_float32_logits_and_leave_settings_as_they_were(network):
    pixels = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    want, settings = network(pixels), (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [setting.allow_tf32 for setting in settings]
    half = lower.lowered(copy.deepcopy(network), "cpu", "fp16")(pixels)
    assert half.dtype == torch.float32
    assert 0 < (half - want).abs().max() < 0.02 * want.abs().max()
    seen = []
    layer = torch.nn.Identity()
    layer.register_forward_hook(lambda *_: seen.extend(one.allow_tf32 for one in settings))
    assert torch.equal(lower.lowered(layer, "cuda", "tf32")(pixels), pixels)
    assert seen == [True, True]
    assert [setting.allow_tf32 for setting in settings] == before
    assert lower.candidates("cpu") == ("bf16",)
    assert set(lower.candidates("cuda")) == {"bf16", "fp16", "tf32"}
