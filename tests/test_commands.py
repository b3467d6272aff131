"""Wrong command lines are refused before Ray, in words; `tests/soak/commands.py` runs hundreds."""

from soak.commands import campaign


def test_wrong_command_lines_of_all_jobs_are_refused():
    ended = list(campaign(40, seed=5))
    assert len(ended) == 40
    assert not [(one.command, one.wrong) for one in ended if one.wrong]
