"""A run of tests that lacks something says so at its end."""

from pathlib import Path

pytest_plugins = ["pytester"]


def test_what_was_skipped_is_said_in_one_line(pytester):
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makepyfile(
        "import pytest\n"
        "@pytest.mark.skip(reason='no chromium here')\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_page(n): ...\n"
        "def test_all_else(): ...\n"
    )
    said = "2 tests did not run, `sudo make system` brings what they need (2: no chromium here)"
    assert said in pytester.runpytest("-q").outlines
    assert "did not run" not in pytester.runpytest("-q", "-k", "else").stdout.str()
