"""Damage stored files in a thousand ways; every reader sees it, or reads the same numbers.

    python tests/soak/mutations.py --mutations 1000

Each mutation flips a bit, cuts, zeroes a page, appends, or puts another file of its kind in the
place of a file: of rows (single and compacted), of the bank, journals, states, answers, ensembles
and checkpoints. Every reader of that kind then names the damage, sets the file aside and makes it
again with the same rows, or reads the numbers that were there before; anything else is a violation.
"""

import argparse
import contextlib
import io
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

import pandas as pd  # noqa: E402
import torch  # noqa: E402
import tuners  # noqa: E402
from studies import SQUARES, Cell  # noqa: E402
from tiny import lenet  # noqa: E402

import results  # noqa: E402
from core.codec import qtable  # noqa: E402
from core.defences.ensemble import Ensemble, Member  # noqa: E402
from core.errors import InputError  # noqa: E402
from core.models import load_checkpoint, save_checkpoint  # noqa: E402
from results import schema  # noqa: E402
from results.__main__ import main as results_main  # noqa: E402
from results.files import Root  # noqa: E402
from results.page.contents import sweeps  # noqa: E402
from results.store import Store  # noqa: E402
from search.engine.bank import Bank  # noqa: E402
from search.engine.here import Here  # noqa: E402
from search.engine.plan import Grid  # noqa: E402

HOW = ("bit", "bit", "cut", "page", "appended", "swapped")
N_CELLS = 4
SCORES = pd.DataFrame({"table": ["a", "b"], "n_right": [50, 19], "share": [0.5, 0.19]})
IMAGES = torch.arange(3 * 64).reshape(3, 1, 8, 8).byte()

Read = Callable[[Path], object]


def sweep(store: Store) -> None:
    """Make what is missing."""
    plan = Grid(SQUARES.cell_id, [Cell(number=n) for n in range(N_CELLS)])
    Here(store).sweep(SQUARES, plan, "w", label="squares", state={"command": "x"})


def make(folder: Path) -> None:
    """Two stores, single and compacted, with all kinds of files."""
    for kind in ("single", "compact"):
        store = Store(Root(folder / kind))
        sweep(store)
        if kind == "compact":
            store.compact("squares", "w")
        answer = results.Answer(text="squares\nanswer 4.0 [3.0, 5.0]", frames={"scores": SCORES})
        list(results.publish(store, "squares", "w", answer))
    bank = Bank(Root(folder / "single"))
    for number in range(2):
        bank.put({"images": torch.full((500,), float(number))}, {"number": str(number)})
    for number in range(2):
        tuners.drive(folder / f"tuning{number}", until=3 + number)
        members = [Member("M", lenet(number), None), Member("M50", lenet(3), qtable.uniform(9))]
        Ensemble(members).save(folder / f"ensemble{number}.safetensors")
        save_checkpoint(folder / f"checkpoint{number}.safetensors", lenet(number))


def plain(rows: pd.DataFrame) -> object:
    """What was measured, in one order."""
    rows = rows.drop(columns=[name for name in schema.MEASURED if name in rows])
    rows = rows[["number", "position", "square"]].astype(int)
    return rows.sort_values(list(rows.columns)).to_numpy().tolist()


def command(path: Path, *words: str) -> str:
    """Standard output of `python -m results`; InputError with its message."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = results_main(["--store", str(store_of(path)), *words])
    if code:
        raise InputError(said.getvalue())
    return out.getvalue()


def store_of(path: Path) -> Path:
    """The store that a file lies in."""
    return next(p for p in path.parents if p.name in ("single", "compact"))


def load(path: Path) -> object:
    """`results.load`."""
    return plain(results.load("squares", sweep="w", store=store_of(path)))


def export(path: Path) -> object:
    """`python -m results export`."""
    to = store_of(path) / "rows.csv"
    command(path, "export", "w", str(to))
    return plain(pd.read_csv(to))


def shown(path: Path) -> object:
    """The facts of `python -m results show` that depend on neither time nor place."""
    kept = ("rows", "cells", "n_cells", "n_done", "failed", "best")
    lines = [line.split() for line in command(path, "show", "w").splitlines()]
    if ["state", "not", "known"] in lines:
        raise InputError("told that the state is lost")
    return [words[:2] for words in lines if words and words[0] in kept]


def paged(path: Path) -> object:
    """What `python -m results report` puts on its page; InputError where it says what is torn."""
    found = list(sweeps(Store(Root(store_of(path))), lambda _, __: None))
    torn = [stage.torn for s in found for stage in s.stages if stage.torn]
    torn += [str(s.answer.torn) for s in found if s.answer and s.answer.torn]
    if torn or any(stage.state is None for s in found for stage in s.stages):
        raise InputError(f"told: {torn}")
    return [
        (s.name, s.answer and (s.answer.text, repr(s.answer.sheets)), m and (m.n_cells, m.n_rows))
        for s in found for stage in s.stages for m in [stage.making]
    ]  # fmt: skip


def resumed(path: Path) -> object:
    """A run of the sweep, which makes again what is damaged, and the rows after it."""
    store = Store(Root(store_of(path)))
    sweep(store)
    return plain(results.load("squares", sweep="w", store=store.root))


def piece(path: Path) -> object:
    """`Bank.get`."""
    tensors, metadata = Bank(Root(store_of(path))).get(path.stem)
    return tensors["images"].tolist(), metadata


def tuned(path: Path) -> object:
    """A driver that finds all done: what its trials say."""
    trials = tuners.drive(path.parents[1], until=3)
    return [[t[name] for name in ("params", "values", "constraints")] for t in trials[:3]]


def ensemble(path: Path) -> object:
    """`Ensemble.load`, asked."""
    return Ensemble.load(path)(IMAGES).tolist()


def checkpoint(path: Path) -> object:
    """A checkpoint of ours, asked."""
    with torch.no_grad():
        return load_checkpoint(path)(IMAGES.float() / 255).tolist()


READERS: dict[str, tuple[str, tuple[Read, ...]]] = {
    "rows": ("single/rows/*/*/*.parquet", (load, export, shown, paged, resumed)),
    "compacted rows": ("compact/rows/*/*/*.parquet", (load, export, shown, paged, resumed)),
    "states": ("single/sweeps/*/*.json", (shown, paged, resumed)),
    "answers": ("*/answers/*/*", (paged,)),
    "bank": ("single/bank/*", (piece,)),
    "journals": ("tuning*/tuning/*.journal", (tuned,)),
    "ensembles": ("ensemble*", (ensemble,)),
    "checkpoints": ("checkpoint*", (checkpoint,)),
}


OWN = ("ensembles", "checkpoints")  # their users name them: another whole file is another network


def mutated(data: bytes, other: bytes, how: str, chance: random.Random) -> bytes:
    """Damaged bytes."""
    place = chance.randrange(len(data))
    if how == "bit":
        return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
    if how == "cut":
        return data[:place]
    if how == "page":
        begin = place - place % 512
        size = min(512, len(data) - begin)
        return data[:begin] + bytes(size) + data[begin + size :]
    return other if how == "swapped" else data + chance.randbytes(chance.randint(1, 64))


def outcome(read: Read, path: Path, expected: object) -> tuple[str, str]:
    """ "detected", "harmless", or "VIOLATION" with its reason."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            found = read(path)
    except (ValueError, OSError) as error:  # what every command line says in a line
        return ("detected", "") if str(error).strip() else ("VIOLATION", "an error without words")
    except Exception:  # noqa: BLE001  whatever else it is, a user would see a traceback
        return "VIOLATION", traceback.format_exc(limit=-2)
    if found == expected:
        return "harmless", ""
    return "VIOLATION", f"{str(found)[:200]} instead of {str(expected)[:200]}"


def campaign(folder: Path, n_mutations: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Totals by outcome, and every violation."""
    make(folder / "whole")
    chance, totals, violations = random.Random(seed), Counter[str](), []
    expected: dict[tuple[str, str], object] = {}
    for number in range(n_mutations):
        kind = list(READERS)[number % len(READERS)]
        pattern, readers = READERS[kind]
        paths = sorted((folder / "whole").glob(pattern))
        chosen, other = chance.choice(paths), chance.choice(paths).read_bytes()
        how = chance.choice(HOW[:-1] if kind in OWN else HOW)
        damaged = mutated(chosen.read_bytes(), other, how, chance)
        for read in readers:
            key = (str(chosen), read.__name__)
            path = folder / "copy" / chosen.relative_to(folder / "whole")
            for undamaged in (True, False) if key not in expected else (False,):
                shutil.rmtree(folder / "copy", ignore_errors=True)
                top = chosen.relative_to(folder / "whole").parts[0]
                whole, copy = folder / "whole" / top, folder / "copy" / top
                copy.parent.mkdir(parents=True)
                shutil.copytree(whole, copy) if whole.is_dir() else shutil.copy(whole, copy)
                if undamaged:
                    expected[key] = read(path)
            path.write_bytes(damaged)
            found, reason = outcome(read, path, expected[key])
            totals[found] += 1
            if reason:
                name = f"{number}: {how} of {path.name} ({kind}), read by {read.__name__}"
                violations.append(f"{name}: {reason}")
    return totals, violations


def main() -> int:
    """Print totals and violations; 1 where there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        totals, violations = campaign(Path(folder), options.mutations, options.seed)
    print(f"{options.mutations} mutations, seed {options.seed}: "
          + ", ".join(f"{n} reads {what}" for what, n in sorted(totals.items())))  # fmt: skip
    print("\n".join(violations))
    return bool(violations)


if __name__ == "__main__":
    raise SystemExit(main())
