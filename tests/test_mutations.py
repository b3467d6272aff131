"""A sample of the campaign that damages stored files; `make mutations` runs all of it."""

from soak.mutations import campaign


def test_damaged_files_are_noticed_or_read_as_they_were(tmp_path):
    totals, violations = campaign(tmp_path, 40, seed=1)
    assert violations == []
    assert totals["detected"] > 40
