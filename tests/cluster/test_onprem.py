"""`cluster.onprem.yaml` for real: the launcher, two hosts, the search, the token, two faults."""

import json
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import hosts as hosts_module
import pytest
from clusters import BIN, brought_up, processes, ray_processes, wait_for
from hosts import Hosts
from searches import SEARCH, assert_same_rows, copy_prepared, hosts_of, run_here, struck

pytestmark = hosts_module.needed
N = 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder that all hosts see, as on a network file system."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def on_one_machine(tmp_path_factory):
    """The same search on this machine alone; it runs while the cluster comes up."""
    with run_here(tmp_path_factory.mktemp("quiet")) as store:
        yield store


@pytest.fixture(scope="module")
def hosts(tmp_path_factory, shared):
    with Hosts(tmp_path_factory.mktemp("hosts"), N, shared=[shared]) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(on_one_machine, tmp_path_factory, hosts, shared):  # noqa: ARG001 - starts beside it
    return brought_up(
        tmp_path_factory.mktemp("cluster") / "launcher", hosts, str(shared / "searched")
    )


@pytest.fixture(scope="module")
def quiet(on_one_machine):
    """The store of the search on this machine alone."""
    return on_one_machine()


@pytest.fixture(scope="module")
def searched(cluster, shared):
    """The store of one undisturbed search on the cluster, and what it said."""
    start = time.monotonic()
    said = cluster.submit(*SEARCH)  # the store is what the cluster file says
    print(f"ray submit {time.monotonic() - start:.1f} s")
    return shared / "searched", said


def test_a_search_runs_on_all_hosts_and_ends_with_the_rows_of_one_machine(searched, hosts, quiet):
    store, _ = searched
    assert set(hosts_of(store)) == {hosts.name(i) for i in range(N)}
    assert_same_rows(store, quiet)


HOMES = ("/tmp/none", "/tmp/wrong")  # without a token, with another


def connect(hosts, i: int, address: str, home: str) -> str:
    """What a driver on a host says that connects with the token of a home folder."""
    code = f"import ray; ray.init({address!r}, log_to_driver=False); print('connected')"
    return hosts.run(
        i, "env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin", "RAY_AUTH_MODE=token", "sh", "-c",
        f"timeout 60 {BIN}/python -c {shlex.quote(code)} 2>&1", check=False,
    )  # fmt: skip


@pytest.mark.usefixtures("cluster")
def test_a_driver_without_the_token_is_refused(hosts):
    address = f"{hosts.ip(0)}:6379"
    assert "connected" in connect(hosts, 1, address, "/root")
    hosts.run(1, "mkdir", "-p", "/tmp/none/.ray", "/tmp/wrong/.ray")
    hosts.run(1, "sh", "-c", f"printf {'0' * 64} > /tmp/wrong/.ray/auth_token")
    with ThreadPoolExecutor() as pool:
        for said in pool.map(lambda home: connect(hosts, 1, address, home), HOMES):
            # A traceback may quote the line that says so.
            assert "connected" not in said.splitlines()
            assert re.search("token|unauthenticated", said, re.IGNORECASE), said


GET = (
    "import sys, urllib.request as u, urllib.error as e\n"
    "headers = {'Authorization': 'Bearer ' + sys.argv[2]} if len(sys.argv) > 2 else {}\n"
    "try: print(u.urlopen(u.Request(sys.argv[1], headers=headers), timeout=30).status)\n"
    "except e.HTTPError as error: print(error.code)\n"
)


def test_dashboard_and_jobs_are_on_loopback_and_refuse_whoever_lacks_the_token(cluster, hosts):
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://{hosts.ip(0)}:8265/api/version", timeout=10)
    token = cluster.token_file.read_text()
    jobs = "http://127.0.0.1:8265/api/jobs/"
    get = [f"{BIN}/python", "-c", GET, jobs]
    assert hosts.run(0, *get, token).strip() == "200"
    assert hosts.run(0, *get).strip() == "401"
    assert hosts.run(0, *get, "0" * 64).strip() == "403"
    said = hosts.run(
        0, "env", "-i", "HOME=/tmp", "PATH=/usr/bin:/bin", "sh", "-c",
        f"{BIN}/ray job submit --address http://127.0.0.1:8265 -- touch /tmp/ran 2>&1", check=False,
    )  # fmt: skip
    assert re.search("401|token", said, re.IGNORECASE), said
    assert hosts.run(0, "sh", "-c", "ls /tmp/ran 2>/dev/null", check=False) == ""


PLACES = ("/root/.ray", "/root/qtable-sweeps", "/root/ray-worker.log", "/tmp/ray/")


def test_the_token_stands_in_no_row_log_or_command_line(searched, cluster, hosts):
    store, said = searched
    token = cluster.token_file.read_text().strip()
    assert len(token) >= 32
    assert token not in said
    found = ["grep", "-rlF", token]
    assert subprocess.run([*found, str(store)], capture_output=True, check=False).stdout == b""
    for i in range(N):
        assert hosts.run(i, "stat", "-c", "%a", "/root/.ray/auth_token") == "600\n"
        assert hosts.run(i, "ls", "/tmp/ray/session_latest/logs") != ""
        assert hosts.run(i, *found, *PLACES, check=False) == "/root/.ray/auth_token\n"
        assert not [line for line in processes(hosts, i) if token in line]


ECHO = "tests/cluster/arguments.py"


def arrived(said: str) -> list[str]:
    return json.loads(re.search(r"^arrived: (.*?)\r?$", said, re.MULTILINE)[1])


AWKWARD = ("two words", "$HOME", "it's", 'say "no"', "a;b", "s3://b/f?a=1&b=2", "*", "")


def test_the_launcher_joins_arguments_unquoted_and_a_shell_reads_them(cluster, hosts):
    said = cluster.submit("two words", "$HOME", script=ECHO, code=None)
    assert arrived(said) == ["two", "words", "/root"]
    said = cluster.submit("one; touch /root/ran", script=ECHO, code=None)
    assert arrived(said) == ["one"]
    assert hosts.run(0, "ls", "/root/ran") == "/root/ran\n"  # so: never pass on what others wrote


def test_arguments_of_our_own_submit_arrive_as_they_were(cluster, hosts):
    words = [*AWKWARD, "; touch /root/ran-too"]
    assert arrived(cluster.send(*words, script=ECHO)) == words
    assert "ran-too" not in hosts.run(0, "ls", "/root")


def test_a_driver_killed_and_submitted_again_ends_with_the_same_rows(cluster, hosts, quiet, shared):
    store = shared / "driver-killed"
    copy_prepared(quiet, store)

    def kill_driver():
        hosts.run(0, "pkill", "-9", "-f", "^python .*/qtable_search.py")

    print("driver killed:", struck(cluster, store, kill_driver, again=True))
    assert_same_rows(store, quiet)


def test_a_host_lost_in_mid_sweep_costs_no_row(cluster, hosts, quiet, shared):
    store = shared / "host-killed"
    copy_prepared(quiet, store)
    print("host killed:", struck(cluster, store, lambda: hosts.kill(N - 1)))
    assert_same_rows(store, quiet)
    assert hosts.name(0) in hosts_of(store)


def test_down_ends_the_head(cluster, hosts):
    """Last: it ends the module's cluster."""
    start = time.monotonic()
    cluster.down()
    print(f"ray down {time.monotonic() - start:.1f} s")
    assert not [line for line in processes(hosts, 0) if "ray" in line]


@pytest.mark.soak
def test_down_leaves_nothing_running_anywhere(cluster, hosts):
    """Workers leave by themselves, about a minute later."""
    cluster.down()
    left_s = wait_for(lambda: not ray_processes(hosts), "processes are left")
    print(f"workers empty {left_s:.1f} s later")
