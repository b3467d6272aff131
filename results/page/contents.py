"""What a store holds, sweep by sweep: states, provenance, and the answers that jobs left."""

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from results.answer import SUMS
from results.page.layout import Sheet, sheet
from results.page.listing import is_listed, line
from results.page.provenance import LoggedRun, Making, logged_runs, making
from results.rowfile import decoded
from results.store import VERDICT, Store

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A picture of an answer, inside the page."""

    name: str
    width_px: int
    height_px: int
    source: str  # data URI


@dataclass
class Answer:
    """What a job left in `answers/SWEEP`."""

    text: str = ""
    verdict: str = ""  # in one sentence; "" where an earlier version answered
    texts: dict[str, str] = field(default_factory=dict)  # further texts, by file
    sheets: list[Sheet] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    others: list[tuple[str, int]] = field(default_factory=list)  # further files, with their bytes
    torn: dict[str, str] = field(default_factory=dict)  # files that cannot be used, and why

    @property
    def title(self) -> str:
        """The answer's first line, which says what was measured on what."""
        return self.text.partition("\n")[0].strip()


@dataclass
class Stage:
    """One study's part in a sweep."""

    study: str
    state: dict[str, Any] | None = None
    making: Making | None = None
    runs: list[LoggedRun] = field(default_factory=list)
    torn: str = ""  # why its rows cannot be read

    @property
    def listed(self) -> dict[str, Any]:
        """What `python -m results` says of it, without the names and what is empty."""
        facts = line(self.state) if self.state else {"state": "not known"}
        hidden = ("study", "sweep")
        return {n: str(fact) for n, fact in facts.items() if fact != "" and n not in hidden}

    @property
    def updated_at(self) -> str:
        """Its last sign of life, UTC, ISO 8601; "" where there is none."""
        if self.state:
            return str(self.state["updated_at"])
        return self.making.last_at if self.making else ""

    @property
    def commands(self) -> list[str]:
        """The commands that ran it, the latest last."""
        given = [*(run.command for run in self.runs), str((self.state or {}).get("command", ""))]
        return list(dict.fromkeys(command for command in reversed(given) if command))[::-1]


@dataclass
class Sweep:
    """All that a store holds under one sweep's name."""

    name: str
    stages: list[Stage]  # the latest last
    answer: Answer | None
    answered_by: str = ""  # the sweep whose answer tells of its rows, where it has none of its own

    @property
    def updated_at(self) -> str:
        """The last sign of life of any of its studies."""
        return max((stage.updated_at for stage in self.stages), default="")

    @property
    def is_question(self) -> bool:
        """Whether it has an answer or waits for one; other sweeps are what answers stand on."""
        listed = any(stage.state and is_listed(stage.state) for stage in self.stages)
        return self.answer is not None or (listed and not self.answered_by)

    @property
    def columns(self) -> list[str]:
        """What is listed of any of its studies."""
        return list(dict.fromkeys(name for stage in self.stages for name in stage.listed))

    @property
    def command(self) -> str:
        """The command that asks for it; "" where none is recorded."""
        return next((c for stage in reversed(self.stages) for c in stage.commands[::-1]), "")

    @property
    def redraw(self) -> str:
        """The command that answers and draws again from stored rows."""
        words = self.command.split(" ")
        return self.command if "--figure" in words else f"{self.command} --figure"


def sweeps(store: Store, tell: Callable[[int, int], None]) -> Iterator[Sweep]:
    """All sweeps of a store, by name. `tell` hears how many of how many are read."""
    states = {(str(state["sweep"]), str(state["study"])): state for state in store.states()}
    pairs = set(states) | {(sweep, study) for study, sweep in store.sweeps()}
    answered = set(store.root.folders("answers"))
    names = sorted({sweep for sweep, _ in pairs} | answered)
    for n_done, name in enumerate(names):
        tell(n_done, len(names))
        studies = [study for sweep, study in sorted(pairs) if sweep == name]
        stages = [_stage(store, study, name, states.get((name, study))) for study in studies]
        stages.sort(key=lambda stage: stage.updated_at)
        yield Sweep(name, stages, _answer(store, name) if name in answered else None)
    tell(len(names), len(names))


def join(found: Sequence[Sweep]) -> None:
    """Note which sweeps, the latest first, another's answer tells of: complete, same command."""
    answered = [sweep for sweep in reversed(found) if sweep.answer and sweep.command]
    answers = {sweep.command: sweep.name for sweep in answered}
    for sweep in found:
        states = {stage.listed["state"] for stage in sweep.stages}
        if sweep.answer is None and states == {"complete"}:
            sweep.answered_by = answers.get(sweep.command, "")


def _stage(store: Store, study: str, sweep: str, state: dict[str, Any] | None) -> Stage:
    stage = Stage(study, state, runs=list(logged_runs(store, study, sweep)))
    try:
        stage.making = making(store, study, sweep)
    except (ValueError, OSError) as error:
        stage.torn = str(error)
    return stage


def _answer(store: Store, sweep: str) -> Answer:
    found, folder = Answer(), f"answers/{sweep}"
    sizes = store.root.sizes(folder)
    sums = store.root.read(f"{folder}/{SUMS}") if sizes.pop(SUMS, None) else b""
    lines = sums.decode("ascii", "replace").splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, n_bytes in sizes.items():
        path = PurePosixPath(name)
        if path.suffix not in (".txt", ".parquet", ".png"):
            found.others.append((name, n_bytes))
            continue
        data = store.root.read(f"{folder}/{name}")
        try:
            _check_sum(data, expected.get(name))
            if path.suffix == ".png":
                found.figures.append(_figure(path.stem, data))
            elif path.suffix == ".parquet":
                found.sheets.append(sheet(path.stem, decoded(data).to_pandas()))
            elif name == "answer.txt":
                found.text = data.decode()
            elif name == VERDICT:
                found.verdict = data.decode().strip()
            else:
                found.texts[name] = data.decode()
        except (ValueError, OSError) as error:
            found.torn[name] = str(error)
    return found


def _check_sum(data: bytes, expected: str | None) -> None:
    """ValueError for other bytes than were published; None: an earlier version's, not summed."""
    if expected not in (None, hashlib.sha256(data).hexdigest()):
        raise ValueError(f"its bytes are not those that {SUMS} names")


def _figure(name: str, data: bytes) -> Figure:
    if not data.startswith(_PNG) or len(data) < 24:
        raise ValueError("not a PNG")
    width, height = (int.from_bytes(data[place : place + 4]) for place in (16, 20))  # IHDR
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return Figure(name, width, height, source)
