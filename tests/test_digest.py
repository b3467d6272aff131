"""What the driver is told of a cell's rows is what a plain count of them says."""

import numpy as np
import pyarrow as pa
import pytest

from core.codec.qtable import Defensive
from results import schema
from search.tables.tally import Tally, digest

TABLES = [Defensive(pattern=k, qs_of=16, qs_af=51) for k in (1, 2, 3)]


def cell_rows(subject: str, seed: int, n_images: int = 40) -> pa.Table:
    random = np.random.default_rng(seed)
    n_rows = n_images * len(TABLES)
    label = np.repeat(random.integers(0, 3, n_images), len(TABLES))
    text = {
        "subject": [subject] * n_rows, "table": [table.name for table in TABLES] * n_images,
    }  # fmt: skip
    columns = {name: pa.array(values).dictionary_encode() for name, values in text.items()}
    return pa.table(
        columns
        | {
            "image": np.repeat(np.arange(n_images) + 100 * seed, len(TABLES)),
            "label": label,
            "undefended": np.repeat(random.integers(0, 3, n_images), len(TABLES)),
            "predicted": random.integers(0, 3, n_rows),
        }
    )


@pytest.mark.parametrize("subject", ["benign", "adversarial"])
def test_a_digest_is_the_plain_count(subject):
    rows = cell_rows(subject, seed=1)
    told, plain = digest(rows), rows.to_pandas()
    assert (told.subject, told.first_image) == (subject, 100)
    assert set(told.tables) == {table.name for table in TABLES}
    for i, name in enumerate(told.tables):
        mine = plain[plain["table"] == name]
        right, before = mine["predicted"] == mine["label"], mine["undefended"] == mine["label"]
        counted = (told.n_images[i], told.n_right[i], told.n_lost[i])
        assert counted == (len(mine), right.sum(), before.sum() - right.sum())


def test_a_cell_of_a_merged_file_names_its_own_tables_only():
    merged = pa.concat_tables([cell_rows("benign", 1), cell_rows("benign", 2)])
    merged = merged.unify_dictionaries()
    few = merged.slice(0, 2)  # its dictionary still holds all three tables
    assert schema.codes(few, "table")[0] == [table.name for table in TABLES[:2]]
    assert digest(few).tables == tuple(table.name for table in TABLES[:2])


def test_tables_to_skip_are_not_counted():
    tally = Tally(TABLES, 40, 40, 1.0)
    tally.add(digest(cell_rows("benign", 1)), skip={TABLES[0].name})
    assert [tally.counts[table.name].n_benign for table in TABLES] == [0, 40, 40]
