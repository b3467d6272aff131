"""What keeps Ray from starting, or a cluster from answering, is named at once."""

import socket
import time

import pytest

from core.errors import InputError
from search.cluster import connection


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch):
    monkeypatch.setattr(connection.ray, "init", lambda **_: pytest.fail("Ray was reached"))
    monkeypatch.setattr(connection.services, "find_bootstrap_address", lambda _: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense", "h:99999999"])
def test_an_address_at_which_nothing_answers_is_said_at_once(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"no cluster answers at .*\n.*RAY_ADDRESS=local"):
        connection.connect()
    assert time.monotonic() - start < 5


def test_what_a_dead_head_left_behind_is_named(monkeypatch):
    monkeypatch.setattr(connection.services, "find_bootstrap_address", lambda _: "127.0.0.1:1")
    with pytest.raises(InputError, match="`ray stop` removes it"):
        connection.connect()


def test_a_long_folder_for_temporary_files_is_named(monkeypatch, tmp_path):
    place = tmp_path / ("x" * 60)
    place.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    with pytest.raises(InputError, match="RAY_TMPDIR=/tmp"):
        connection.connect()


def test_more_than_this_machine_has_is_named():
    with pytest.raises(InputError, match="5000 CPUs and 0 GPUs"):
        connection.connect(cpus=5000)


def test_a_ray_that_does_not_start_is_tried_twice_and_said(monkeypatch, capsys):
    tried = []

    def init(**_):
        tried.append(1)
        raise Exception("The current node timed out during startup.")  # noqa: TRY002 - as Ray

    monkeypatch.setattr(connection.ray, "init", init)
    monkeypatch.setattr(connection.ray_constants, "ENABLE_RAY_CLUSTER", True)
    with pytest.raises(InputError, match=r"timed out during startup[^H]*\nHint: "):
        connection.connect()
    assert len(tried) == 2
    assert "trying once again" in capsys.readouterr().err


def test_a_port_that_answers_is_joined():
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection.check_listens(f"127.0.0.1:{server.getsockname()[1]}")


def test_what_workers_print_is_said_without_rays_prefix_and_colours(capsys):
    here = {"pid": 7, "ip": "10.0.0.1", "localhost": "10.0.0.1", "is_err": True, "job": "1"}
    connection._relay(here | {"lines": ["\x1b[32mtrains\x1b[0m: loss falls"]})
    connection._relay(here | {"ip": "10.0.0.2", "lines": ["warns of something"]})
    assert capsys.readouterr().err == "trains: loss falls\n10.0.0.2: warns of something\n"
