"""The figure's own artists, read back and compared with the lines they show."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from results import png
from results.tables.picture import table_heatmaps
from results.tables.winner import MeasuredBands, Winner

K, STEPS = tuple(range(1, 15)), tuple(range(1, 122, 5))


UNDEFENDED = 40  # of 100 adversarial images


def lines_of(cells, *, n_benign=1000, n_adv=100):
    """Lines as `summary` gives them, of {(k, qs_af): (images lost, adversarial images right)}."""
    names = [(f"k{k}-of16-af{step}", k, 16, step) for k, step in cells]
    lines = pd.DataFrame(names, columns=["table", "pattern", "qs_of", "qs_af"])
    lost, kept = np.transpose(list(cells.values()))
    return lines.astype(dict.fromkeys(["pattern", "qs_of", "qs_af"], "Int64")).assign(
        n_benign=n_benign,
        n_benign_right_undefended=n_benign - 20,
        n_benign_right=n_benign - 20 - lost,
        n_adv=n_adv,
        n_successful=n_adv - UNDEFENDED,
        acc_dec=100 * lost / n_benign,
        def_all=100 * kept / n_adv,
    )


def winner_of(lines, place, tied=()):
    line = lines.loc[place]
    tied_lines = lines.loc[sorted({place, *tied})]
    return Winner(
        table=line["table"],
        pattern=line["pattern"],
        qs_of=16,
        qs_af=line["qs_af"],
        line=line,
        tied=tuple(tied_lines["table"]),
        tied_lines=tied_lines,
        edges="",
        n_feasible=1,
        n_tables=len(lines),
    )


@st.composite
def surfaces(draw):
    """Any grid, with holes, but in every row and column of cells something measured."""
    k = sorted(draw(st.sets(st.sampled_from(K), min_size=2)))
    steps = sorted(draw(st.sets(st.sampled_from(STEPS), min_size=2)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kept = rng.random((len(k), len(steps))) < draw(st.sampled_from([0.4, 1.0]))
    np.fill_diagonal(kept, True)
    kept[len(steps) :, 0] = kept[0, len(k) :] = True
    return {
        (k[y], steps[x]): (int(rng.choice([-9, 0, 9, 10, 11, 400])), int(rng.integers(101)))
        for y, x in np.argwhere(kept)
    }


def maps(figure):
    return figure.axes[:2]


def shown(axes):
    return np.ma.filled(np.ma.masked_invalid(axes.images[0].get_array()), np.nan)


def border(axes):
    (edges,) = (
        part for part in axes.collections
        if isinstance(part, LineCollection) and tuple(part.get_color()[0]) == to_rgba("black")
    )  # fmt: skip
    return {frozenset(map(tuple, segment.tolist())) for segment in edges.get_segments()}


def points(axes, label):
    found = [line for line in axes.lines if line.get_label() == label]
    return [xy for line in found for xy in zip(*line.get_data(), strict=True)]


def brute_border(cells):
    """Every side of every feasible cell beyond which a measured cell is not feasible."""
    k, steps = (sorted(set(part)) for part in zip(*cells, strict=True))
    edges = set()
    for (row, column), (lost, _) in cells.items():
        y, x = k.index(row), steps.index(column)
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            if not (0 <= y + dy < len(k) and 0 <= x + dx < len(steps)) or lost >= 10:
                continue
            beside = cells.get((k[y + dy], steps[x + dx]))
            if beside is not None and beside[0] >= 10:
                corners = ((dx - dy, dy - dx), (dx + dy, dy + dx))
                edges.add(frozenset((x + cx / 2, y + cy / 2) for cx, cy in corners))
    return edges


@settings(max_examples=25)
@given(surfaces())
def test_maps_show_the_lines_and_the_border_runs_where_feasible_ends(cells):
    figure = table_heatmaps(lines_of(cells), None, title="any")
    k, steps = (sorted(set(part)) for part in zip(*cells, strict=True))
    for axes, part, n in zip(maps(figure), (1, 0), (100, 1000), strict=True):
        theirs = np.full((len(k), len(steps)), np.nan)
        for (row, column), values in cells.items():
            theirs[k.index(row), steps.index(column)] = 100 * values[part] / n
        np.testing.assert_array_equal(shown(axes), theirs)
        assert border(axes) == brute_border(cells)
        holes = [p.get_xy() for p in axes.patches if isinstance(p, Rectangle) and p.get_hatch()]
        assert sorted(holes) == sorted((x - 0.5, y - 0.5) for y, x in np.argwhere(np.isnan(theirs)))
        assert axes.images[0].get_extent() == [-0.5, len(steps) - 0.5, -0.5, len(k) - 0.5]
        for place, tick in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
            assert steps[int(place)] == int(tick.get_text())
    left = figure.axes[0]  # the right map shares its labels
    assert [tick.get_text() for tick in left.get_yticklabels()] == [str(each) for each in k]
    np.testing.assert_array_equal(left.get_yticks(), range(len(k)))


def test_a_search_that_left_tables_out_shows_the_whole_grid():
    lines = lines_of({(2, 76): (0, 60), (3, 116): (1, 61)})
    whole = (range(1, 15), range(1, 122, 5))
    figure = table_heatmaps(lines, winner_of(lines, 1, [0]), title="any", whole=whole)
    for axes in maps(figure):
        assert shown(axes).shape == (14, 25)
        assert np.argwhere(~np.isnan(shown(axes))).tolist() == [[1, 15], [2, 23]]
        assert len([p for p in axes.patches if p.get_hatch()]) == 14 * 25 - 2
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-2:] == ["tied with it (Def, 95 %): at least 1", "ruled out before"]


@pytest.mark.parametrize("kept", [50, 5])
def test_the_colour_bar_reaches_to_no_defence_and_marks_it(kept):
    figure = table_heatmaps(lines_of({(1, 1): (0, kept), (2, 6): (0, kept + 1)}), None, title="any")
    bar = figure.axes[2]
    (mark,) = (line for line in bar.lines if line.get_color() == "red")
    assert list(mark.get_ydata()) == [UNDEFENDED, UNDEFENDED]
    low, high = bar.get_ylim()
    assert low <= min(kept, UNDEFENDED) < max(kept + 1, UNDEFENDED) <= high
    assert "no defence, 40.0" in bar.get_ylabel()


@pytest.mark.parametrize(("n_k", "n_steps"), [(1, 1), (2, 2), (14, 25)])
def test_winner_and_ties_stand_on_their_cells_of_both_maps(n_k, n_steps):
    cells = {(k, s): (0, 50 + k) for k in K[-n_k:] for s in STEPS[-n_steps:]}
    lines = lines_of(cells)
    place = len(lines) - 1
    tied = [0, 1] if place else []
    figure = table_heatmaps(lines, winner_of(lines, place, tied), title="any")
    for axes in maps(figure):
        assert (*axes.get_xlim(), *axes.get_ylim()) == (-0.5, n_steps - 0.5, -0.5, n_k - 0.5)
        assert points(axes, "winner") == [(n_steps - 1, n_k - 1)]
        assert points(axes, "tied") == ([(0, 0), (1, 0)] if place else [])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"winner: k {K[-1]}, QS_AF {STEPS[-1]}" in texts
    assert ("tied with it (Def, 95 %): 2" in texts) == bool(place)


def test_measured_bands_are_labelled_by_their_size():
    lines = lines_of({(k, s): (0, 50) for k in (1, 2, 4) for s in (1, 6)})
    bands = MeasuredBands(n_favoured={1: 1, 2: 3, 4: 10}, n_shared={1: 1, 2: 2, 4: 9})
    figure = table_heatmaps(lines, winner_of(lines, 4), title="any", bands=bands)
    left = figure.axes[0]
    assert "n_OF" in left.get_ylabel()
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["1", "3", "10"]
    assert points(left, "winner") == [(0, 2)]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "winner: n_OF 10, QS_AF 1" in texts


def test_ruined_tables_do_not_move_the_colours_around_the_limit():
    def colours(ruined):
        cells = {(1, 1): (9, 5), (1, 6): (11, 6), (2, 1): (ruined, 7), (2, 6): (0, 8)}
        axes = maps(table_heatmaps(lines_of(cells), None, title="any"))[1]
        return axes.images[0].to_rgba(shown(axes)), axes.images[0].colorbar.extend

    (mild, plain), (bad, pointed) = colours(30), colours(900)
    np.testing.assert_array_equal(mild[[0, 0, 1], [0, 1, 1]], bad[[0, 0, 1], [0, 1, 1]])
    assert (plain, pointed) == ("neither", "max")
    below, above = mild[0, 0], mild[0, 1]  # 0.9 and 1.1 points: the blue side and the red side
    assert below[2] > below[0]
    assert above[0] > above[2]


def test_the_limit_moves_border_and_colours_together():
    lines = lines_of({(1, 1): (25, 5), (1, 6): (35, 6)})
    left, right = maps(table_heatmaps(lines, None, title="any", max_decline_points=3))
    assert border(left) == border(right) == {frozenset({(0.5, -0.5), (0.5, 0.5)})}
    assert right.images[0].get_clim() == (-1, 7)


def test_axes_bars_and_title_say_what_they_are():
    figure = table_heatmaps(lines_of({(1, 1): (0, 5), (2, 6): (0, 6)}), None, title="The title")
    assert figure.get_suptitle() == "The title"
    assert figure.axes[0].get_ylabel() == "partition pattern k (diagonals kept)"
    for axes in maps(figure):
        assert axes.get_xlabel() == "QS_AF (quantiser step of adversary-favoured coefficients)"
    labels = [axes.images[0].colorbar.ax.get_ylabel() for axes in maps(figure)]
    assert labels == ["Def (%); red: no defence, 40.0", "Acc_dec (points)"]


def test_a_subject_not_measured_is_all_hatched():
    lines = lines_of({(1, 1): (0, 5), (1, 6): (20, 6)}).assign(def_all=np.nan)
    left, right = maps(table_heatmaps(lines, None, title="any"))
    assert np.isnan(shown(left)).all()
    assert (len(left.patches), len(right.patches)) == (2, 0)
    assert border(right)


def test_the_same_numbers_write_the_same_bytes_at_150_dpi():
    lines = lines_of({(k, s): (k * s // 10, s) for k in K for s in STEPS})
    first, second = (
        png(table_heatmaps(lines, winner_of(lines, 3, [4]), title="any")) for _ in range(2)
    )
    assert first == second
    assert b"Software" not in first
    width, height = (int.from_bytes(first[i : i + 4]) for i in (16, 20))  # PNG, IHDR
    assert (width, height) == (1500, 630)


def test_two_tables_in_one_cell_or_none_at_all_are_named():
    lines = lines_of({(1, 1): (0, 5), (2, 6): (0, 6)})
    with pytest.raises(ValueError, match="found 3 tables in 2 cells"):
        table_heatmaps(pd.concat([lines, lines[:1]]), None, title="any")
    with pytest.raises(ValueError, match="found 0 tables"):
        table_heatmaps(lines.assign(pattern=pd.NA), None, title="any")
    with pytest.raises(ValueError, match="expected the winner and its ties in the summary"):
        table_heatmaps(lines[1:], winner_of(lines, 0), title="any")
