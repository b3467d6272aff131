"""Small cells and their rows for tests of the store."""

from dataclasses import dataclass

import pyarrow as pa

from results import schema
from results.store import Found, Store


@dataclass(frozen=True, kw_only=True)
class Cell:
    block: int
    name: str = "ä b"
    share: float = 0.5
    tables: tuple[str, ...] = ("k1", "k2")


@dataclass(frozen=True, kw_only=True)
class Row:
    image: int
    right: bool
    pattern: int | None


# What --smoke asked of jobs when the golden files were made, where it asks for something else now.
_NETWORK = ["--model", "small_resnet", "--epochs", "2"]
SMOKE_THEN = {
    "adversarial_training": _NETWORK,
    "member_matrix": _NETWORK,
    "train_chain": _NETWORK,
    "ensemble_tune": [*_NETWORK, "--table", "k3-of16-af116"],
    "ablation": ["--table", "k10-of16-af56"],
    "threat_table": [*_NETWORK, "--white", "bpda@400x2", "pgd@8x2", "--draws", "1"],
    "qtable_search": ["--epochs", "2"],
    "jpeg_fgsm": ["--qualities", "10-90/20"],
}
SCHEMA = schema.schema_of(Cell, Row)
MADE = schema.Provenance(
    commit="abc", versions="python=3", hardware="cpu", host="here", wall_s=1.5,
    finished_at="2026-11-21T10:00:00.123456+00:00",
)  # fmt: skip


def rows_of(block: int, n_rows: int = 3, study: str = "s") -> pa.Table:
    columns = {
        "image": list(range(n_rows)), "right": [True] * n_rows,
        "pattern": [None, *range(1, n_rows)],
    }  # fmt: skip
    return schema.rows_table(
        SCHEMA, study=study, version=1, cell=Cell(block=block), columns=columns, made=MADE
    )


def cell_id(block: int) -> str:
    return schema.cell_id("s", 1, Cell(block=block))


def done(store: Store) -> tuple[dict[str, pa.Table], Found]:
    found = Found()
    return dict(store.cells("s", "w", SCHEMA, found, version=1)), found
