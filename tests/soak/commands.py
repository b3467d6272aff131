"""Wrong command lines of every job and both `python -m` families: refused before Ray, in words.

    python tests/soak/commands.py --commands 500

Each is run in this process, where Ray's start is stood in for. It must end with exit code 2 within
3 s of its own work, without traceback and without telling a secret. What may run is in LEGITIMATE.
"""

import argparse
import contextlib
import dataclasses
import importlib
import io
import itertools
import os
import random
import re
import sys
import tempfile
import time
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from results.__main__ import main as results_main
from search import job as jobs
from search.__main__ import main as search_main

ROOT = Path(__file__).resolve().parents[2]
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("[!_]*.py"))
SECRET = "hunter2-Secr3t"
LIMIT_S = 3.0

NO_NUMBER = ("abc", "", "nan", "inf", "-1", "9" * 5000, "1e999", "\u0663", "\uff18", "1_0", "0x10",
             "3 4", "1\0", "--", "1,,2", "\u00bd", "-0x1", "8/255", "\x1b[31m1")  # fmt: skip
NO_COUNT = (*NO_NUMBER, "0", "1.5", "1e3", "99999999999999999999")
NO_LIST = ("", "a", "3-1", "1-", "-3", "1-99999999", "\u0663", "1-9/0", "9" * 5000, "1;2", "256",
           "1-300", "1\0", "1e3")  # fmt: skip
NO_LEVELS = ("", "a", "256", "-1", "nan", "1,,2", "9" * 5000, "\u0668", "1_0", "inf", "8/255")
NO_TEXT = ("", "a\0b", "\x1b[2J", "\udcff", "x" * 5000, "no such thing", f"s3:/u:{SECRET}@b/x",
           f"nosuch://u:{SECRET}@h/p", f"postgresql:/u:{SECRET}@h/d", "..\n..")  # fmt: skip
NO_ATTACK = ("", "fgsn", "fgsm@", "fgsm@0", "fgsm@0.5", "fgsm@256", "fgsm@2x9", "pgd@8x0", "@8",
             "cw:depth=3", "cw:confidence=1,confidence=2", "fgsm:target=10", "pgd@8x99999999",
             f"pgd@8x{'9' * 5000}", "fgsm@\u0668", "cw:rate=0", "cw:rate=nan", "cw:searches=\u0663",
             "ifgsm:momentum=1_0", "pgd:through=straight", "pgd-l2@0.5", "autoattack:version=9",
             "worst", "worst@", "worst@8x0", f"fgsm:target={'9' * 5000}", "fgsm@2\0")  # fmt: skip
NO_TABLE = ("", "k3", "k16-of16-af51", "k3-of0-af51", "k3-of16-af256", "fd@rgb", "a\0",
            "k\u0663-of16-af51", "k3-of16-af51@q0", "k3-of16-af51@q70", "x" * 5000)  # fmt: skip
NO_MODEL = (*NO_TEXT, "resnet_unknown", "timm:nothing", "train:nothing", "checkpoint:/nowhere",
            "checkpoint:", "checkpoint:/", "resnet18", "timm:resnetv2_50", "train:", ":",
            f"checkpoint:s3://u:{SECRET}@b/m", "small_resnet:1")  # fmt: skip
NO_DATA = (*NO_TEXT, "imagenet", "imagefolder:", "imagefolder:/nowhere", "imagefolder:a\0b",
           "imagefolder:/dev/null", f"imagefolder:s3://u:{SECRET}@b/x", "mnist", "cifar10",
           f"imagefolder:nosuch://b/x?password={SECRET}", "imagefolder:memory://none")  # fmt: skip
NO_STORE = ("", "memory://x", "nosuch://x", "s3://", "gs:///x", "/dev/null/x", "/dev/null", "a\0b",
            "/proc/nothing", "x" * 5000, f"nosuch://u:{SECRET}@h/x", f"s3://?secret={SECRET}",
            f"gs:///u:{SECRET}@x", "\udcff", f"nosuch://h/x?token={SECRET}")  # fmt: skip
NO_STORAGE = (*NO_TEXT, "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:////no/such/f.db",
              "mysql://h/d", "journal", "postgresql://", "sqlite:///?x=1", "postgresql://127.0.0.1:1/d",
              f"postgresql://u:{SECRET}@127.0.0.1:1/d", f"postgresql://u:{SECRET}@127.0.0.1:x/d",
              f"postgres://u:{SECRET}/x@127.0.0.1:1/d", f"mysql://u:{SECRET}@h/d",
              f"postgresql://127.0.0.1:1/d?password={SECRET}", f"host=h password={SECRET}",
              f"sqlite://u:{SECRET}@/f.db", f"oracle:u:{SECRET}@h")  # fmt: skip

WRONG: dict[str, Sequence[str]] = {  # by flag, where the type does not say it
    "store": NO_STORE, "data": NO_DATA, "model": NO_MODEL, "storage": NO_STORAGE,
    "attack": NO_ATTACK, "attacks": NO_ATTACK, "gray": NO_ATTACK, "black": NO_ATTACK,
    "white": NO_ATTACK, "table": NO_TABLE, "surrogate": NO_MODEL,
    "architecture": (*NO_TEXT, "lenet"), "data_root": (*NO_TEXT, "/nowhere"),
    "side": (*NO_COUNT, "7", "33", "1000000000"),
    "seed": (*NO_NUMBER, "1.5", "2147483648"), "gpus": (*NO_NUMBER, "1.5", "0.5", "64"),
    "cpus": (*NO_NUMBER, "0", "100000", "5000"), "xi": (*NO_NUMBER, "1.5"),
    "chain_decay": (*NO_NUMBER, "0", "1.5"), "sigma_255": (*NO_LEVELS, "8-300"),
    **dict.fromkeys(("learning_rate", "chain_learning_rate"), (*NO_NUMBER, "0")),
    "max_decline": (*NO_NUMBER, "0", "101"),
    "eps_255": (*NO_LEVELS, "0", "0.03", "0.5"), "step_255": (*NO_NUMBER, "0", "300", "1"),
    "attack_steps": (*NO_COUNT, "5"), "restarts": (*NO_COUNT, "5", "99999999"),
    "study": (*NO_TEXT, "a/b", "../x", ".x", "a b"), "members": (*NO_TEXT, "M+M", "M+", "M95"),
    "defences": (*NO_TEXT, "jpeg0", "jpeg101", "smooth\u0668", "jpeg\u0667\u0665", "k3-of16-af300"),
    "qualities": (*NO_LIST, "0", "101", "0-100/50"), "patterns": (*NO_LIST, "0", "16"),
    "xi_percent": (*NO_LIST, "101", "10,20,50"), "steps": (*NO_LIST, "0"),
    "budgets_255": (*NO_LIST, "0"), "qs_of": (*NO_COUNT, "256"),
    **dict.fromkeys(("benign", "report_benign", "adversarial", "report_adversarial", "attacked",
                     "white_images"), (*NO_COUNT, "1000000", "601")),
}  # fmt: skip

TOGETHER = {  # flags that contradict each other, by job; "" is every job
    "": ("--model resnet18 --epochs 3", "--architecture resnet18", "--download", "--data-root /x",
         "--here --gpus 1", "--figure --smoke", "--seed 1 --seed 1", "--data digits --side 33",
         "--cpus 1 --cpus=2", "--unknown 1", "--epochs", "junk", "--data=photos --data=digits",
         "--gpus 0 --gpus 1", "--precision fp16", "--precision", "--no-here", "--her", "--figure=1",
         f"--stroe s3://u:{SECRET}@b", f"--store=s3://u:{SECRET}@b --store x", "--store", "-x"),
    "qtable_search": ("--attack fgsm@8 --eps-255 8", "--attack fgsm --attack-steps 5",
                      "--attack ifgsm --restarts 3", "--attack pgd --step-255 0",
                      "--attack ifgsm --step-255 0.01", "--strategy fastest", "--bands none",
                      "--attack pgd-l2 --eps-255 0.5", "--float --eps-255 0", "--qs-of 0",
                      "--benign 100 --adversarial 101", "--report-benign 10",
                      "--attack pgd@8x5 --attack-steps 5", "--attack pgd@8x5x2 --restarts 2",
                      "--attack fgsm:target=10", "--attack bpda --eps-255 0"),
    "ensemble_tune": ("--trials 3 --until 3", "--parallel 2 --reproducible", "--white pgd-l2@200",
                      "--attack fgsm@8 --eps-255 8", "--benign 50", "--report-benign 50",
                      "--store memory://x --storage sqlite:///x", "--membership all",
                      "--objectives both", "--rule median", "--xi-percent 10,20,50",
                      "--table ijg75", "--white-images 401",
                      "--sigma-255 0-64 --qs-af 1-255 --xi-percent 0-100 --membership optuna"),
    "color_space": ("--data digits", "--data photos --steps 256", "--data photos --benign 10",
                    "--data photos --attack pgd-l2 --eps-255 0.5", "--data photos --steps 0"),
    "ablation": ("--data digits", "--data photos --quality 0", "--data photos --quality 101",
                 "--data photos --table k3", "--data photos --attacks fgsm@300",
                 "--data photos --attacks fgsm@2 fgsn@2"),
    "threat_table": ("--defences none none", "--members M+M", "--defences", "--model resnet18",
                     "--codec jpeg", "--black fgsm@8 --surrogate nothing", "--eot 0",
                     "--sigma-255 256", "--surrogate lenet --black", "--defences nothing"),
    "adversarial_training": ("--eps-255 0", "--eps-255 0.03", "--eps-255 300", "--restarts 0",
                             "--attack-steps 0", "--codec jpeg", "--at-epochs 0"),
    "train_chain": ("--codec jpeg", "--codec jpeg --table ijg75", "--report-benign 10",
                    "--sigma-255 256", "--xi 2", "--chain-decay 0", "--attack fgsm@8 --eps-255 8"),
    "member_matrix": ("--codec jpeg", "--report-adversarial 401", "--sigma-255 300"),
    "frequency_analysis": ("--attacked 601", "--benign 401", "--eps-255 0.3", "--attacked 0"),
    "jpeg_fgsm": ("--budgets-255 0", "--qualities 0", "--qualities 101", "--budgets-255 256"),
}  # fmt: skip

RESULTS = ("show", "show nothing", "log nothing", "compact nothing", "export nothing", "list list",
           "export nothing rows.csv", "show nothing --study none", "report", "show x y", "--all",
           "report --out", "report --out /nowhere/x.html", "export x /nowhere/rows.csv",
           "shwo x", "show x --study a --study b", "--store a --store b", "compact",
           "log", "nothing")  # fmt: skip
SEARCH = ("", "doctr", "doctor --gpus", "doctor --gpus 1.5", "doctor --gpus -1", "submit x y",
          "doctor --gpus nan", "doctor --unknown", "submit", "submit /nowhere jobs/ablation.py",
          "doctor --cluster", "doctor --cluster /nowhere", "doctor --cluster /dev/null", "submit x",
          "doctor --store a --store b", "doctor --gpus \u0663", "doctor x", "--store x",
          f"doctor --stroe s3://u:{SECRET}@b", "doctor --cluster pyproject.toml",
          f"doctor --gpus {'9' * 5000}")  # fmt: skip

ON_PHOTOS = (
    "ablation|augmented_threats|color_space|compressed_training|corruption_robustness|denoise|"
    "rate_distortion"
)
LEGITIMATE = (  # what may run, and why
    (r"results list --store /(dev|proc)/", "a store that is not there yet has no sweeps"),
    (r"universal .*--together 1-300$", "more at a time than there are images: all of them"),
    (r"--(betas|lambdas)[= ]256$", "factors, not levels"),
    (rf"^({ON_PHOTOS}) .*(benign|adversarial)[= ]601$", "photos have 1,500 of each split"),
)


@dataclass(frozen=True)
class Ended:
    """How one command line ended."""

    command: str
    code: int | None  # None: Ray was reached
    wall_s: float
    said: str
    wrong: str  # empty where it was refused as it should be


class RayReached(BaseException):
    """Ray was to be started: nothing refused the command line."""


def commands(chance: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Wrong command lines without end: who is called, and with which words."""
    while True:
        kind = chance.random()
        if kind < 0.08:
            yield "results", ["--store", "STORE", *chance.choice(RESULTS).split()]
        elif kind < 0.12:
            wrong = chance.choice(NO_STORE)
            yield (
                "results",
                [*chance.choice(("list", "report", "show x")).split(), "--store", wrong],
            )
        elif kind < 0.18:
            yield "search", chance.choice(SEARCH).split()
        elif kind < 0.4:
            name = chance.choice(JOBS)
            own = chance.choice((*TOGETHER[""], *TOGETHER.get(name, ()) * 3))
            yield name, own.split()
        else:
            yield mutated(chance)


def mutated(chance: random.Random) -> tuple[str, list[str]]:
    """One flag of one job with a value that it cannot have."""
    name = chance.choice(JOBS)
    asked = importlib.import_module(f"jobs.{name}").Asked
    hints = typing.get_type_hints(asked)
    field = chance.choice([f for f in dataclasses.fields(asked) if hints[f.name] is not bool])
    values = WRONG.get(field.name) or by_type(str(hints[field.name]))
    option, value = f"--{field.name.replace('_', '-')}", chance.choice(values)
    if field.name == "sigma_255" and "tuple[int" in str(hints[field.name]):
        value = chance.choice(NO_LIST)
    words = [f"{option}={value}"] if chance.random() < 0.3 else [option, value]
    needs_colour = name in ("ablation", "color_space") and field.name != "data"
    return name, [*["--data", "photos"] * needs_colour, *words]


def by_type(hint: str) -> Sequence[str]:
    """Values that no flag of a type takes."""
    if "Literal" in hint:
        return ("", "other", "FP32", "a\0", f"s3://u:{SECRET}@b")  # a bare word could be anything
    if "tuple[int" in hint:
        return NO_LIST
    if "tuple[float" in hint:
        return NO_LEVELS
    return NO_COUNT if "int" in hint else NO_NUMBER if "float" in hint else NO_TEXT


def run(who: str, words: list[str], folder: Path) -> Ended:
    """Run one command line in this process, in an empty folder and store."""
    store = str(folder / "store")
    words = [store if word == "STORE" else word for word in words]
    main: Callable[[list[str]], int] = {"results": results_main, "search": search_main}.get(who)
    if main is None:
        job = importlib.import_module(f"jobs.{who}").JOB
        own = any(word.partition("=")[0] == "--store" for word in words)
        words = [*["--store", store] * (not own), *words]
        main = lambda argv: jobs.main(job, argv)  # noqa: E731
    out, start, code, wrong = io.StringIO(), time.monotonic(), None, ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(words)
        except SystemExit as usage:
            code = usage.code
        except RayReached:
            wrong = "Ray was reached"
        except BaseException as error:  # noqa: BLE001 - a user would see a traceback
            wrong = f"{type(error).__name__}: {error}"[:300]
    wall_s, said = time.monotonic() - start, out.getvalue()
    command = " ".join([who, *(ascii(word[:80])[1:-1] for word in words)]).replace(store, "STORE")
    finds = who == "search" and code == 1  # the doctor's findings
    if not wrong and code != 2 and not finds:
        wrong = f"exit code {code}"
    wrong = wrong or ("a traceback" if "Traceback" in said else "")
    wrong = wrong or ("a secret is told" if SECRET in said else "")
    wrong = wrong or ("a terminal's command" if "\x1b" in said else "")
    wrong = wrong or ("no word of what is wrong" if "error:" not in said and not finds else "")
    if any(re.search(pattern, command) for pattern, _ in LEGITIMATE):
        wrong = ""
    return Ended(command, code, wall_s, said, wrong)


def campaign(n: int, seed: int) -> Iterator[Ended]:
    """So many command lines that a seed chooses."""
    endless = commands(random.Random(seed))
    env = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "QSWEEP_STORE")}
    reached = mock.patch("ray.init", side_effect=RayReached)
    alone = mock.patch("ray._private.services.find_bootstrap_address", return_value=None)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        handlers = mock.patch("signal.signal")
        for around in (mock.patch.dict(os.environ, env, clear=True), reached, alone, handlers):
            stack.enter_context(around)
        stack.enter_context(contextlib.chdir(folder))
        for who, words in itertools.islice(endless, n):
            ended = run(who, words, Path(folder))
            if ended.wall_s > LIMIT_S and not ended.wrong:  # imports, or a busy machine
                ended = run(who, words, Path(folder))
                if ended.wall_s > LIMIT_S:
                    ended = dataclasses.replace(ended, wrong=f"took {ended.wall_s:.1f} s")
            yield ended


def main() -> int:
    """Totals and violations; 1 where there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ended = list(campaign(options.commands, options.seed))
    for one in ended:
        if one.wrong:
            print(f"VIOLATION  {one.wrong}\n    {one.command}\n    {one.said.strip()[-300:]}")
    n_wrong = sum(bool(one.wrong) for one in ended)
    codes = Counter(str(one.code) for one in ended)
    print(
        f"{len(ended)} wrong command lines, {len({e.command for e in ended})} different: exit "
        f"codes {dict(codes)}, slowest {max(e.wall_s for e in ended):.1f} s, {n_wrong} violations"
    )
    return bool(n_wrong)


if __name__ == "__main__":
    sys.exit(main())
