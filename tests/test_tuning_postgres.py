"""Tuning kept in a real PostgreSQL server: kills, one driver at a time, no password anywhere."""

import random
import time
import urllib.parse

import postgres
import psycopg
import pytest
import tuners
from test_tuning import check_whole
from tuners import drive, outcomes, tuning_of

from core.errors import InputError
from results.files import Root
from results.shown import redacted
from search.tuning import driver as tuning
from search.tuning import storage

pytestmark = pytest.mark.skipif(
    postgres.binaries() is None,
    reason="no PostgreSQL server under /usr/lib/postgresql; `make system` installs one",
)


@pytest.fixture(scope="module")
def address():
    with postgres.server() as where:
        yield where


@pytest.fixture
def url(address):
    """A database of its own for each test."""
    secret = urllib.parse.quote_plus(postgres.PASSWORD)
    base = f"postgresql://postgres:{secret}@{address}"
    name = f"d{time.time_ns()}"
    with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{base}/{name}"


def test_a_study_killed_at_random_statements_ends_whole_and_reproducible(url, tmp_path):
    server = tuners.Server()
    expected = outcomes(drive(tmp_path / "quiet", until=5))
    chance = random.Random(2)
    n_kills, trials = 0, None
    while trials is None:
        # From the making of the tables to a few trials on; a trial is about 40 statements.
        kill = ("statement", chance.randint(10, 110)) if n_kills < 8 else None
        trials = server.drive(tmp_path, kill, url=url, until=5)
        n_kills += trials is None
    server.close()
    assert n_kills >= 3
    check_whole(trials, 5)
    assert outcomes(trials) == expected


def test_a_second_driver_is_refused_at_once_and_let_in_after_a_kill(url, tmp_path):
    with storage.opened(Root(tmp_path), "t", url):
        start = time.monotonic()
        with pytest.raises(InputError, match="'t' has a driver already"):
            drive(tmp_path, url=url)
        assert time.monotonic() - start < 10
        drive(tmp_path, url=url, study="another", until=1)
    server = tuners.Server()
    assert server.drive(tmp_path, ("work", 1), url=url, until=2) is None
    check_whole(drive(tmp_path, url=url, until=2), 2)
    server.close()


def test_a_driver_whose_connection_is_gone_stops_before_it_tells(url, tmp_path):
    with (
        storage.opened(Root(tmp_path), "t", url) as opened,
        psycopg.connect(url, autocommit=True) as other,
    ):

        def cut(settings):
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            )
            return [tuners.scores_of(setting) for setting in settings]

        driver = tuning.Driver(opened, tuning_of(), cut, tuners.MAKERS["random"])
        with pytest.raises(InputError, match="held the study's lease is gone"):
            driver.run(until=3)
        assert not driver.ended()
    check_whole(drive(tmp_path, url=url, until=3), 3)


def test_another_question_is_refused(url, tmp_path):
    drive(tmp_path, url=url, until=1)
    with pytest.raises(InputError, match='data: "none" there, "else" now'):
        drive(tmp_path, url=url, question={"data": "else"})
    with pytest.raises(InputError, match="has the directions maximize"):
        drive(tmp_path, url=url, objectives="multi")


@pytest.mark.parametrize("spoil", ["password", "database", "port"])
def test_no_error_tells_the_password(url, tmp_path, spoil, capfd):
    secret = urllib.parse.quote_plus(postgres.PASSWORD)
    wrong = {
        "password": url.replace(secret, f"{secret}wrong"),
        "database": f"{url}-none",
        "port": url.replace(url.rsplit(":", 1)[1].split("/")[0], "1"),
    }[spoil]
    with pytest.raises(InputError, match=r"cannot open postgresql://127\.0\.0\.1") as refusal:
        drive(tmp_path, url=wrong)
    said = f"{refusal.value!r} {refusal.value.__cause__} {''.join(capfd.readouterr())}"
    assert postgres.PASSWORD not in said
    assert secret not in said
    assert refusal.value.__suppress_context__


def test_an_open_storage_is_called_by_a_name_without_a_password(url, tmp_path):
    with storage.opened(Root(tmp_path), "t", url) as opened:
        assert opened.name.startswith("postgresql://127.0.0.1:")
        assert "@" not in opened.name
    assert redacted("postgresql://u:pa/ss@h/d") == "postgresql://h/d"
    assert redacted("s3://bucket/a@b") == "s3://bucket/a@b"
