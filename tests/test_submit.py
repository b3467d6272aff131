"""What reaches the head: code that is the laptop's, arguments as they were typed."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from search.__main__ import main
from search.cluster import shipping
from search.cluster.submit import command
from search.inputs import networks

ECHO = "import sys; print(repr(sys.argv[1:]))"
ODD = ["a b", "$HOME", "x; touch /tmp/owned", "it's", '"quoted"', "`id`", "a&b|c>d", "*", "", "~"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    cluster, script = folder / "c.yaml", folder / "job.py"
    cluster.write_text("cluster_name: c\n")
    script.write_text("")
    return str(cluster), str(script)


def arrived(line: list[str]) -> list[str]:
    """What a shell makes of the words after `--`, joined as `ray submit` joins them."""
    joined = " ".join(line[line.index("--") + 1 :]) if "--" in line else ""
    inner = f"{sys.executable} -c '{ECHO}' {joined}"
    # ray: bash --login -c -i quote(command), itself given to ssh's shell
    told = subprocess.run(
        ["bash", "-c", 'exec bash -c "$0"', inner], capture_output=True, text=True, check=True
    )
    return eval(told.stdout)  # a list of strings that our own child printed


def test_arguments_arrive_as_typed(files):
    assert arrived(command(*files, ODD, tmux=False)) == ODD
    assert not Path("/tmp/owned").exists()


TEXT = st.text(st.characters(codec="ascii", exclude_characters="\n\0"))


@given(arguments=st.lists(TEXT, min_size=1, max_size=4))
def test_any_arguments_arrive_as_typed(files, arguments):
    line = command(*files, arguments, tmux=True)
    assert "--tmux" in line
    joined = " ".join(line[line.index("--") + 1 :])
    told = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {joined}"], capture_output=True, check=True
    )
    assert told.stdout.decode().split("\0")[:-1] == arguments


def test_a_line_break_is_refused(files):
    with pytest.raises(InputError, match="line break"):
        command(*files, ["a\nb"], tmux=False)


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_files_are_named(files, missing, capsys):
    given_files = [*files]
    given_files[missing] = "nowhere.yaml"
    assert main(["submit", *given_files]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_a_cluster_file_that_is_not_filled_in_is_refused(files, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("cluster_name: c\nhead: REPLACE-HEAD-IP\n# REPLACE\n")
    assert main(["submit", str(tmp_path / "c.yaml"), files[1]]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/c.yaml:2: REPLACE-HEAD-IP is to be filled in.\nHint: " in said


def test_a_script_that_differs_from_the_repositorys_is_refused(tmp_path):
    ours = shipping.REPOSITORY / "jobs" / "qtable_search.py"
    same, other = tmp_path / "qtable_search.py", tmp_path / "mine.py"
    same.write_bytes(ours.read_bytes())
    other.write_text("print(1)")
    shipping.check_script(same)
    shipping.check_script(ours)
    shipping.check_script(other)
    same.write_bytes(ours.read_bytes() + b"# newer\n")
    with pytest.raises(InputError, match="make push"):
        shipping.check_script(same)


def test_what_is_shipped_is_sources_and_weights_alone_and_imports(tmp_path):
    bank = shipping.REPOSITORY / "results" / "out" / "bank"
    bank.mkdir(parents=True, exist_ok=True)
    (bank / "test.safetensors").touch()
    paths = shipping.shipped(tmp_path)
    assert [Path(path).name for path in paths] == list(shipping.PACKAGES)
    (bank / "test.safetensors").unlink()
    other = [p.name for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".py"]
    assert other == [networks.SHIPPED.name]
    code = "import search.cluster.shipping as s"
    told = subprocess.run(
        [sys.executable, "-c", f"{code}; print(s.REPOSITORY, s.fingerprint())"],
        env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True,
        check=True,
    ).stdout.split()  # fmt: skip
    assert told == [str(tmp_path), shipping.fingerprint()]
    (tmp_path / "jobs" / "ablation.py").write_text("")
    again = subprocess.run(
        [sys.executable, "-c", f"{code}; print(s.fingerprint())"],
        env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True,
        check=True,
    ).stdout.split()  # fmt: skip
    assert again != told[1:]


SUBMITTED = (
    "import sys, types\n"
    "for name in ('search', 'search.cluster'):\n"  # without what they import: torch takes seconds
    "    package = sys.modules[name] = types.ModuleType(name)\n"
    f"    package.__path__ = [{str(shipping.REPOSITORY)!r} + '/' + name.replace('.', '/')]\n"
    "from search.cluster import shipping\n"
    "from core.errors import InputError\n"
    "try: shipping.check_arguments(sys.argv[0], sys.argv[1:])\n"
    "except InputError as error: print('refused:', error, flush=True); raise SystemExit(2)\n"
    "print('ran', sys.argv[1:], flush=True)\n"
)


@pytest.fixture
def head(tmp_path):
    """A head's home folder, with a submitted script and `python` on the path."""
    (tmp_path / "job.py").write_text(SUBMITTED)
    (tmp_path / "ray_bootstrap_config.yaml").write_text("{}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    return tmp_path


def launched(home: Path, arguments: str, *, tmux: bool = False) -> str:
    """What `ray submit` with these arguments says; the line is its command runner's."""
    command = f"(python ~/job.py {arguments})"
    if tmux:  # a terminal apart, which this is not, keeps a shell open behind the script
        command = f"(bash -c {shlex.quote(f'python ~/job.py {arguments}; exec bash')} </dev/null)"
    line = f"source ~/.bashrc; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && {command}"
    env = {
        "HOME": str(home), "PYTHONPATH": str(shipping.REPOSITORY),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", line], env=env, cwd=home, capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.parametrize("tmux", [False, True])
@pytest.mark.parametrize(
    "arguments", ["--store $HOME/out", "--eps-255 8; touch ~/owned", "--study *", "--a `id`"]
)
def test_arguments_that_a_shell_changed_are_refused_before_anything_runs(head, arguments, tmux):
    said = launched(head, arguments, tmux=tmux)
    assert said.startswith("refused:")
    assert "python -m search submit" in said
    assert not (head / "owned").exists()


@pytest.mark.parametrize("tmux", [False, True])
@pytest.mark.parametrize("arguments", [["--eps-255", "8"], ODD, []])
def test_arguments_that_arrive_whole_are_taken(head, arguments, tmux):
    said = launched(head, " ".join(map(shlex.quote, arguments)), tmux=tmux)
    assert said == f"ran {arguments}\n"


def test_a_script_elsewhere_may_be_given_what_a_shell_made(head):
    (head / "ray_bootstrap_config.yaml").unlink()
    assert launched(head, "$HOME").startswith("ran")
