"""A tuning study whose chains are files, made in a moment, and a server that forks drivers of it.

The server imports everything once; a driver that is to be killed is then a fork away.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import RandomSampler
from optuna.storages.journal import JournalFileBackend

from core.defences import subsets
from results.files import Root
from search.tuning import driver as tuning
from search.tuning import samplers, storage
from search.tuning.members import Tuning
from search.tuning.space import Axis, Setting, Space

HERE = Path(__file__).parent
MEMBERS = ("M", "M90", "M80")
AXES = (Axis("sigma_255", tuple(range(0, 33, 2))), Axis("qs_af", (21, 41, 61)))
STARTS = tuple({"sigma_255": sigma, "qs_af": 41} for sigma in (32, 16, 0))
OPTIMUM = {"sigma_255": 10, "qs_af": 61}
N_BENIGN = N_ADVERSARIAL = 200
UNDEFENDED = 198


def scores_of(setting: Setting) -> subsets.Scores:
    """More members defend better, and cost benign images; one setting is best, by 1 image."""
    far = abs(setting["sigma_255"] - OPTIMUM["sigma_255"]) // 2
    far += abs(setting["qs_af"] - OPTIMUM["qs_af"]) // 20
    used = subsets.masks(len(MEMBERS))
    gain, cost = used @ np.array([0, 20, 30]), used @ np.array([0, 0, 1])
    return subsets.Scores(
        n_members=used.sum(axis=1),
        n_benign_right=UNDEFENDED - cost,
        n_adversarial_right=100 + gain - far,
        n_benign=N_BENIGN,
        n_adversarial=N_ADVERSARIAL,
    )


def tuning_of(**changes: Any) -> Tuning:
    fields: dict[str, Any] = {
        "study": "t", "space": Space(AXES), "members": MEMBERS, "starts": STARTS,
        "undefended": UNDEFENDED, "max_decline_points": 1.0, "objectives": "single",
        "question": {"data": "none"}, "seed": 0,
    }  # fmt: skip
    return Tuning(**fields | changes)


class Trainer:
    """Trains a setting's chain once: a file that must not be there before."""

    def __init__(self, folder: Path, *, at_work: Callable[[], None] = lambda: None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.at_work = folder, at_work

    def __call__(self, settings: Sequence[Setting]) -> list[subsets.Scores]:
        for setting in settings:
            chain = self.folder / f"{setting['sigma_255']}-{setting['qs_af']}"
            if not chain.exists():
                aside = chain.with_name(f"{chain.name}.{os.getpid()}.part")
                aside.write_text("weights")
                self.at_work()
                os.link(aside, chain)  # FileExistsError where it was trained twice
                aside.unlink()
        return [scores_of(setting) for setting in settings]


MAKERS: dict[str, samplers.Make] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "gp": samplers.gaussian_process,
}


def drive(
    folder: Path, *, url: str | None = None, until: int = 8, parallel: int = 1,
    make: str = "random", at_work: Callable[[], None] = lambda: None, **changes: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """One driver to its end; what its trials are then."""
    asked = tuning_of(**changes)
    with storage.opened(Root(folder), asked.study, url) as opened:
        trainer = Trainer(folder / "chains", at_work=at_work)
        driver = tuning.Driver(opened, asked, trainer, MAKERS[make])
        driver.run(until=until, parallel=parallel)
        return trials_of(driver.study)


def trials_of(study: optuna.Study) -> list[dict[str, Any]]:
    return [
        {"number": t.number, "state": t.state.name, "params": t.params, "values": t.values,
         "constraints": t.constraints, "user_attrs": t.user_attrs}
        for t in study.get_trials(deepcopy=False)
    ]  # fmt: skip


def outcomes(trials: list[dict[str, Any]]) -> list[Any]:
    """Complete trials in order, without their numbers: orphans take some."""
    names = ("params", "values", "constraints")
    return [[t[name] for name in names] for t in trials if t["state"] == "COMPLETE"]


class Server:
    """Forks drivers and says how each ended."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            # A fork of a process whose OpenMP threads have run would wait for them for ever.
            env=os.environ | {"PYTHONPATH": f"{HERE}:{HERE.parent}", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def drive(self, folder: Path, kill: tuple[str, int] | None, **options: Any) -> Any:
        """Its trials; None where the driver was killed as asked: (what, at which time)."""
        request = {"folder": str(folder), "kill": kill, "options": options}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if answer["killed"]:
            return None
        assert answer["error"] is None, answer["error"]
        return answer["trials"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def _kill_at(kill: tuple[str, int]) -> Callable[[], None]:
    """Arm the kill; what to call at work."""
    what, when = kill
    left = [when]

    def tick() -> bool:
        left[0] -= 1
        return left[0] == 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    append = JournalFileBackend.append_logs

    def torn(self: Any, logs: list[dict[str, Any]]) -> None:
        if what == "written" and tick():
            append(self, logs)
            die()
        if what == "torn" and tick():
            line = json.dumps(logs[0]) + "\n"
            with Path(self._file_path).open("a") as file:  # the lock is left behind, too
                file.write(line[: max(1, len(line) * (when % 7 + 1) // 8)])
            Path(f"{self._file_path}.lock").symlink_to(self._file_path)
            die()
        append(self, logs)

    JournalFileBackend.append_logs = torn
    if what == "statement":
        import sqlalchemy

        sqlalchemy.event.listen(
            sqlalchemy.engine.Engine, "after_cursor_execute", lambda *_: tick() and die()
        )
    if what == "seconds":
        signal.signal(signal.SIGALRM, lambda *_: die())
        signal.setitimer(signal.ITIMER_REAL, when / 1000)
    return lambda: die() if what == "work" and tick() else time.sleep(0.002)


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            at_work = _kill_at(request["kill"]) if request["kill"] else lambda: None
            answer: dict[str, Any] = {"trials": None, "error": None}
            try:
                folder = Path(request["folder"])
                answer["trials"] = drive(folder, at_work=at_work, **request["options"])
            except BaseException as error:  # noqa: BLE001  said by the server
                answer["error"] = f"{type(error).__name__}: {error}"
            with os.fdopen(writer, "w") as pipe:
                pipe.write(json.dumps(answer))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        answer = {"trials": None, "error": None} if killed else json.loads(text)
        print(json.dumps(answer | {"killed": killed}), flush=True)


if __name__ == "__main__":
    _serve()
