"""Quantization tables: rules, names, text, errors."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from core.codec import qtable
from core.errors import InputError

tables = hnp.arrays(np.int64, (8, 8), elements=st.integers(1, 255))


@pytest.mark.parametrize("quality", range(1, 101))
def test_ijg_tables_are_libjpegs(quality):
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
    theirs = Image.open(file).quantization[0]
    assert qtable.ijg(quality).flatten().tolist() == theirs


@pytest.mark.parametrize("k", range(1, 16))
def test_pattern_k_holds_the_first_k_diagonals(k):
    table = qtable.Defensive(pattern=k, qs_of=16, qs_af=50).table()
    for u in range(8):
        for v in range(8):
            assert table[u, v] == (16 if u + v < k else 50)
    assert qtable.Defensive(pattern=k, qs_of=16, qs_af=50).n_favoured == (table == 16).sum()


@given(pattern=st.integers(1, 15), qs_of=st.integers(1, 255), qs_af=st.integers(1, 255))
def test_names_read_back(pattern, qs_of, qs_af):
    defensive = qtable.Defensive(pattern=pattern, qs_of=qs_of, qs_af=qs_af)
    assert qtable.parse_defensive(defensive.name) == defensive
    assert torch.equal(qtable.by_name(defensive.name), defensive.table())


@given(mask=hnp.arrays(np.bool_, (8, 8)), qs_of=st.integers(1, 255), qs_af=st.integers(1, 255))
def test_names_of_masks_read_back(mask, qs_of, qs_af):
    banded = qtable.Banded.of(torch.from_numpy(mask), qs_of=qs_of, qs_af=qs_af)
    expected = np.where(mask, qs_of, qs_af).astype(float)
    np.testing.assert_array_equal(qtable.by_name(banded.name), expected)
    assert qtable.parse_two_step(banded.name) == banded
    assert banded.n_favoured == mask.sum()


@given(order=st.permutations(range(64)), n_favoured=st.integers(0, 64))
def test_a_mask_has_the_pattern_of_as_many_coefficients(order, n_favoured):
    mask = torch.zeros(64, dtype=torch.bool)
    mask[list(order[:n_favoured])] = True
    index = np.add.outer(np.arange(8), np.arange(8))
    sizes = {int((index < k).sum()): k for k in range(1, 16)}
    pattern = qtable.Banded.of(mask.reshape(8, 8), qs_of=16, qs_af=50).pattern
    assert pattern == sizes.get(n_favoured)


def test_a_mask_reads_two_digits_a_row_from_dc():
    table = qtable.by_name("m8100000000000001-of16-af50")
    assert (table == 16).nonzero().tolist() == [[0, 0], [0, 7], [7, 7]]


def test_feature_distillation_has_a_finer_corner():
    table = qtable.by_name("fd")
    assert (table[:4, :4] == 25).all()
    assert ((table == 25).sum(), (table == 30).sum()) == (16, 48)


def test_names_of_baselines():
    assert qtable.by_name("none") is None
    assert torch.equal(qtable.by_name("ijg75"), qtable.ijg(75))
    assert torch.equal(qtable.by_name("uniform16"), torch.full((8, 8), 16.0).double())
    with pytest.raises(InputError, match="of the searched family, got 'ijg75'"):
        qtable.parse_defensive("ijg75")


@given(table=tables, comment=st.text(st.characters(codec="utf-8")))
def test_text_reads_back(table, comment):
    steps = torch.from_numpy(table).double()
    assert torch.equal(qtable.from_text(qtable.to_text(steps, comment=comment)), steps)


def test_text_is_read_in_natural_order_with_comments():
    rows = "\n".join(" ".join(str(8 * row + column + 1) for column in range(8)) for row in range(8))
    table = qtable.from_text("# luminance 1 2 3\n" + rows + " # end\n" + rows)
    assert table[0, 1] == 2
    assert table[1, 0] == 9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: qtable.uniform(0), "whole numbers in 1..255, got 0"),
        (lambda: qtable.uniform(256), "whole numbers in 1..255, got 256"),
        (lambda: qtable.check(torch.full((8, 8), 1.5)), "got 1.5 at row 0, column 0"),
        (lambda: qtable.check(torch.full((8, 8), torch.nan)), "got nan"),
        (lambda: qtable.check(torch.ones(64)), "must be 8x8"),
        (lambda: qtable.ijg(0), "quality must lie in 1..100"),
        (lambda: qtable.by_name("ijg400"), "quality must lie in 1..100, got 'ijg400'"),
        (lambda: qtable.by_name("fd@q0"), "quality must lie in 1..100, got 'fd@q0'"),
        (lambda: qtable.by_name("jpeg"), "no table is called 'jpeg'"),
        (lambda: qtable.by_name("k16-of16-af5"), "k must lie in 1..15, got 16"),
        (lambda: qtable.by_name("k3-of16-af0"), "whole numbers in 1..255, got 0"),
        (lambda: qtable.by_name("m8-of16-af5"), "no table is called"),
        (lambda: qtable.Banded(mask=2**64, qs_of=1, qs_af=1), "has 64 bits"),
        (lambda: qtable.from_text("1 2 3"), "found 3 numbers"),
        (lambda: qtable.from_text(""), "found 0 numbers"),
        (lambda: qtable.from_text("1 2 x"), "found 'x'"),
        (lambda: qtable.from_text("300 " * 64), "got 300"),
        (lambda: qtable.load("/nowhere/table.txt"), "cannot read the quantization table"),
    ],
)
def test_bad_tables_are_named(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "Hint:" in str(caught.value)


def test_a_byte_order_mark_is_no_step(tmp_path):
    text = qtable.to_text(qtable.ijg(75), comment="saved by an editor")
    (tmp_path / "table.txt").write_text(text, encoding="utf-8-sig")
    assert torch.equal(qtable.load(tmp_path / "table.txt"), qtable.ijg(75))


@pytest.mark.parametrize("word", ["9" * 5000, "1e3", "١٦", "0x10", "1_6", "-"])
def test_words_that_are_no_steps_are_named_in_short(word):
    with pytest.raises(InputError, match="whole numbers, found") as caught:
        qtable.from_text(f"{word} " * 64)
    assert len(str(caught.value)) < 200


def test_a_path_with_nul_is_no_table():
    with pytest.raises(InputError, match="cannot read"):
        qtable.load("a\0b")
