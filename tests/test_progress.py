"""Progress: how fast cells come, from the start and of late."""

import pytest

from search import progress
from search.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "on_terminal", lambda: False)
    return now


def run(clock: list[float], seen: Progress, *gaps_s: float) -> list[float]:
    """Cells that end so long after each other; the pace after each."""
    paces = []
    for gap_s in gaps_s:
        clock[0] += gap_s
        seen.cell(failed=False, best=str)
        paces.append(seen.pace_per_s)
    return paces


def test_slow_cells_that_end_together_are_not_taken_for_short_ones(clock):
    paces = run(clock, Progress("x", 100, 0), *[3.0, 0.001] * 20)
    assert max(paces) < 1.4  # two every three seconds; as much once more just after an end


def test_a_slow_start_is_forgotten(clock):
    seen = Progress("x", 10_000, 0)
    run(clock, seen, 10.0, *[0.01] * 400)
    assert seen.pace_per_s == pytest.approx(100, rel=0.01)
    assert seen.rate_per_s == pytest.approx(401 / 14, rel=0.01)


def test_cells_that_become_slow_are_noticed(clock):
    seen = Progress("x", 10_000, 0)
    run(clock, seen, *[0.01] * 400, *[5.0] * 3)
    assert seen.pace_per_s < 0.5


def test_where_the_cells_are_not_known_pairs_say_how_far_it_is_at_most(clock):
    now = [1000, 9000]
    seen = Progress("x", None, 5, lambda: (now[0], now[1]))
    run(clock, seen, 2.0)
    now[:] = [2000, 3000]
    assert seen.left_s == pytest.approx(6)  # 1000 pairs took 2 s
    assert seen.line("t") == (
        "x: 6 cells, 0.5/s, at most 6.0 s left, 2,000 of at most 5,000 pairs, best t"
    )


def test_failed_cells_do_not_count_as_pace(clock):
    seen = Progress("x", 10, 0)
    clock[0] += 1
    seen.cell(failed=True, best=str)
    assert seen.pace_per_s == 0
