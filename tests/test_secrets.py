"""Passwords in stores, models, data and storages, also mistyped ones, are told to nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import ensemble_tune
from results import shown
from results.__main__ import main as results_main
from results.files import Root
from results.store import Store
from search import main
from search.__main__ import main as search_main
from search.cluster import connection
from search.engine.record import Record

SECRET = "hunter2&Secr3t"
SPELLED = (SECRET, "hunter2%26Secr3t", "hunter2", "Secr3t")
ROOT = Path(__file__).resolve().parent.parent

SCHEMES = ("s3", "gs", "nosuch", "ftp", "mysql", "hdfs")
URIS = [
    *(f"{scheme}://user:{SECRET}@host/place" for scheme in SCHEMES),
    f"s3:/user:{SECRET}@bucket/x",
    f"s3:user:{SECRET}@bucket",
    f"s3//user:{SECRET}@bucket",
    f"//user:{SECRET}@bucket",
    f"user:{SECRET}@bucket",
    f"nosuch://user:a/{SECRET}/b@host",
    f"nosuch://user:a@{SECRET}@host",
    f"nosuch://{SECRET}:x@h",
    "nosuch://user:hunter2%26Secr3t@host",
    f"nosuch://user:{SECRET} x@host",
    f"nosuch://host/x?password={SECRET}",
    f"nosuch://host/x?sig={SECRET}&v=1",
    f"postgresql://user:{SECRET}@127.0.0.1:port/db",
    f"postgresql://user:{SECRET}@127.0.0.1:1/db",
    f"postgres:/user:{SECRET}@127.0.0.1/db",
    f"sqlite://user:{SECRET}@/x",
    f"checkpoint:s3://user:{SECRET}@b/m.safetensors",
    f"imagefolder:s3://user:{SECRET}@b/x",
    f"imagefolder:s3:/user:{SECRET}@b/x",
    f"https://user:{SECRET}@host/x.safetensors",
    f"host=h password={SECRET}",
]


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch):
    monkeypatch.setattr(shown, "_known", set())


ATTACKS = (
    "cw:searches=5@1000000x200", "apgd-t:targets=3,through=cubic@2x40x5", "cw:confidence=0.5@8.5",
    "--attack=cw:searches=5@8",
)  # fmt: skip


@pytest.mark.parametrize("text", ATTACKS)
def test_the_settings_of_an_attack_are_no_password(text):
    assert not shown.remember(text, "--gray")
    assert shown.scrubbed(f"gray {text}, white") == f"gray {text}, white"


@pytest.mark.parametrize("text", ["user:pass=hunter2@host", "user:pass=hunter2@10.0.0.1"])
def test_a_password_like_the_settings_of_an_attack_is_one(text):
    assert shown.remember(text)
    assert "hunter2" not in shown.scrubbed(f"no store at {text}")


@pytest.mark.parametrize("uri", URIS)
def test_no_message_tells_a_secret(uri, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(connection.ray, "init", lambda **_: pytest.fail("Ray was reached"))
    monkeypatch.chdir(tmp_path)
    for option in ("--storage", "--model=checkpoint:", "--data", "--table"):
        words = [f"{option}{uri}"] if "=" in option else [option, uri]
        assert main(ensemble_tune.JOB, ["--store", str(tmp_path), *words]) == 2
    for mistyped in (["--stoer", uri], [f"--stoer={uri}"], ["--seed", uri], [uri]):
        with pytest.raises(SystemExit, match="2"):
            main(ensemble_tune.JOB, mistyped)
    assert results_main(["list", "--store", uri]) in (0, 2)
    assert search_main(["doctor", "--cluster", uri]) == 2
    said = "".join(capfd.readouterr())
    assert not [word for word in SPELLED if word in said], said


def test_a_failed_sweep_logs_and_keeps_no_secret(tmp_path):
    uri = f"s3://user:{SECRET}@bucket/x"
    shown.remember(uri)
    store = Store(Root(tmp_path))
    record = Record(store, "study", "sweep", {"command": shown.scrubbed(f"job --data {uri}")})
    record.log(f"failed: cannot open {uri}, nor {SECRET!r}")
    record.write({"state": "failed"})
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.*"))
    assert "cannot open s3://bucket/x" in kept
    assert not [word for word in SPELLED if word in kept]


def test_a_list_of_processes_shows_no_secret():
    code = (
        "import sys; from search.job import keep_secret; keep_secret(sys.argv[1:]);"
        "print(open('/proc/self/cmdline').read())"
    )
    command = [sys.executable, "-c", code, "--storage", f"postgresql://u:{SECRET}@h/d"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert "postgresql://" in done.stdout
    assert not [word for word in SPELLED if word in done.stdout]


@pytest.mark.parametrize(
    "text",
    [
        "imagefolder:/data/x:y@z/photos",
        "s3://bucket/a@b",
        "expected settings as KEY=VALUE, each once",
        "RAY_AUTH_MODE=token sends that of ~/.ray/auth_token",
        "10.0.0.1:6379: a 3:4 of user@host, fgsm@8:target=3",
        "Hint: --storage postgresql://USER@HOST/DATABASE",
    ],
)
def test_what_is_no_secret_is_shown(text):
    assert shown.scrubbed(text).replace("postgresql://HOST", "postgresql://USER@HOST") == text


def test_a_terminal_is_given_no_commands(capsys):
    shown.show("two lines\n\tare fine\x1b]0;title\x07\x9b2J")
    assert capsys.readouterr().out == "two lines\n\tare fine\\x1b]0;title\\x07\\x9b2J\n"
