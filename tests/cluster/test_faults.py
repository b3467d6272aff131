"""Faults in mid-sweep on a cluster of three hosts, each ending with the rows of a quiet run.

Long: `make faults` runs them, with what each took.
"""

import re
import shutil
import threading
import time

import hosts as hosts_module
import pytest
from clouds import cloud
from clusters import brought_up, has_ray, ray_processes, wait_for, what_happened
from hosts import Hosts
from searches import SEARCH, assert_same_rows, copy_prepared, hosts_of, run_here, struck

pytestmark = [hosts_module.needed, pytest.mark.soak]
N = 3


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The store of the search on this machine alone."""
    with run_here(tmp_path_factory.mktemp("quiet")) as store:
        yield store()


@pytest.fixture
def store(tmp_path, quiet):
    """A folder that all hosts share, with everything ready but the search's own cells."""
    copy_prepared(quiet, tmp_path / "shared")
    return tmp_path / "shared"


@pytest.fixture
def hosts(tmp_path, store):
    with Hosts(tmp_path / "hosts", N, shared=[store]) as made:
        yield made


@pytest.fixture
def cluster(tmp_path, hosts, store):
    return brought_up(tmp_path / "launcher", hosts, str(store))


def killed(hosts, i: int, pattern: str) -> None:
    hosts.run(i, "pkill", "-9", "-f", pattern)


def test_a_host_switched_off(cluster, hosts, store, quiet):
    print("host off:", struck(cluster, store, lambda: hosts.kill(2)))
    assert_same_rows(store, quiet)


def test_a_network_cut_and_healed(cluster, hosts, store, quiet):
    # Healed after longer than it takes to declare the node dead.
    heal = threading.Timer(12, hosts.heal, [2])

    def cut():
        hosts.cut(2)
        heal.start()

    print("network cut and healed:", struck(cluster, store, cut, after_cells=3))
    heal.join()
    assert_same_rows(store, quiet)


def test_a_network_cut_for_good(cluster, hosts, store, quiet):
    print("network cut:", struck(cluster, store, lambda: hosts.cut(2)))
    assert_same_rows(store, quiet)


def test_a_worker_process_killed(cluster, hosts, store, quiet):
    fault = struck(cluster, store, lambda: killed(hosts, 1, "^ray::run_cell"))
    print("worker process killed:", fault)
    assert_same_rows(store, quiet)
    assert hosts.name(1) in hosts_of(store)


def test_a_driver_killed_and_submitted_again(cluster, hosts, store, quiet):
    fault = struck(
        cluster, store, lambda: killed(hosts, 0, "^python .*/qtable_search.py"), again=True
    )
    print("driver killed, submitted again:", fault)
    assert_same_rows(store, quiet)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: make system")
def test_a_search_left_alone_in_tmux_goes_on_and_is_found_done(cluster, hosts, store, quiet):
    start = time.monotonic()
    words = ("jobs/qtable_search.py", *SEARCH, "--store", str(store))
    cluster.ray("submit", "--tmux", str(cluster.file), *words)
    returned_s = time.monotonic() - start
    assert not list(store.glob("answers/*/answer.txt")), "it waited for the end"
    wait_for(lambda: not connections(hosts), "the launcher's connection stays", timeout_s=60)
    wait_for(lambda: list(store.glob("answers/*/winner.qtable.txt")), "no answer", timeout_s=600)
    print(f"ray submit --tmux returned after {returned_s:.1f} s, answer after "
          f"{time.monotonic() - start:.1f} s")  # fmt: skip
    assert_same_rows(store, quiet)
    assert len(hosts_of(store)) == N
    said = cluster.submit(*SEARCH, "--store", str(store))
    assert "winner" in said
    assert not re.search(r": [1-9]\d* cells run", said)


def connections(hosts) -> list[str]:
    """The ssh sessions on the head."""
    lines = hosts.run(0, "ps", "-ww", "-eo", "args", "--no-headers").splitlines()
    return [line for line in lines if re.match(r"sshd.*@", line)]


def head_lost(hosts, cluster, *, keep_disk: bool):
    """Cut the head's power and switch it on again, as it was or with an empty disk; `ray up`."""
    hosts.kill(0)
    hosts.start(0, keep_disk=keep_disk)
    start = time.monotonic()
    if not keep_disk:  # the launcher remembers a head that is set up
        cluster.down()
    cluster.up()
    wait_for(lambda: all(has_ray(hosts, i) for i in range(N)), "not all joined again")
    print(f"cluster up again after {time.monotonic() - start:.1f} s;", end=" ")


def test_a_head_lost_started_and_submitted_again(cluster, hosts, store, quiet):
    fault = struck(cluster, store, lambda: head_lost(hosts, cluster, keep_disk=True), again=True)
    print("head's power cut:", fault)
    assert_same_rows(store, quiet)
    cluster.down()
    try:
        empty_s = wait_for(lambda: not ray_processes(hosts), "processes are left")
    except AssertionError as error:
        error.add_note(what_happened(hosts))
        raise
    print(f"ray down, empty {empty_s:.1f} s later")


AWS = "AWS_ENDPOINT_URL={} AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-west-2"


def test_a_head_lost_with_rows_in_an_object_store(tmp_path, hosts, quiet, monkeypatch):
    with cloud(hosts.key, address=hosts.gateway) as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        store = "s3://store/rows"
        copy_prepared(quiet, store)
        cluster = brought_up(tmp_path / "launcher", hosts, f"{store} {AWS.format(aws.endpoint)}")
        fault = struck(
            cluster, store, lambda: head_lost(hosts, cluster, keep_disk=False), again=True
        )
        print("head replaced by an empty machine, rows in an object store:", fault)
        assert_same_rows(store, quiet)
