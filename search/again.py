"""A command that was answered is answered again without torch, where nothing has changed since.

`answered/NAME.json` of a local store holds what was printed and digests of all bytes it came from.
docs/decisions/0020-answers-that-are-kept.md.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from results.where import default_store
from search import flags
from search.cluster.shipping import fingerprint


def note_of(script: Path, asked: flags.Flags) -> Path | None:
    """Where the answer would be kept: a name that everything decides but rows and data.

    Flags, code, the job's own script, packages, folder. None where none is kept: of a remote
    store, of a trial run.
    """
    store = asked.store or default_store()
    if "://" in store or asked.smoke or asked.figure:
        return None
    root = Path(store).expanduser().resolve()
    given = asdict(asked) | {"store": str(root), "here": None}  # where cells run is no question
    homes = [os.environ.get(name) for name in ("HOME", "XDG_CACHE_HOME")]  # of data sets
    own = hashlib.sha256(script.read_bytes()).hexdigest()  # which may be a user's
    facts: list[object] = [script.name, own, given, fingerprint(), sys.version, _packages()]
    facts += [str(Path.cwd()), homes]
    return root / "answered" / f"{_digest(facts)}.json"


def _packages() -> list[str]:
    """All installed packages and their versions, by the names of their folders."""
    found: set[str] = set()
    for folder in sys.path:
        with contextlib.suppress(OSError):
            found.update(n for n in os.listdir(folder or ".") if n.endswith("-info"))  # noqa: PTH208
    return sorted(found)


def seen(places: Iterable[str | Path]) -> dict[str, str]:
    """A digest for each file, and for each folder of the files in it: their names and bytes."""
    found = {}
    for place in map(Path, places):
        files = [*place.iterdir()] if place.is_dir() else [place]
        whole = hashlib.sha256()
        for file in sorted(file for file in files if file.is_file()):
            if not file.name.startswith("."):  # still being written
                own = hashlib.sha256(file.read_bytes()).hexdigest()
                whole.update(f"{own} {file.name}\n".encode())
        found[str(place)] = whole.hexdigest()
    return found


def keep(note: Path, text: str, data: dict[str, str], folders: Iterable[str]) -> None:
    """Note what was printed and what it came from: data as `seen` before, and folders as they are.

    A store that takes no note goes without.
    """
    with contextlib.suppress(OSError):
        kept = {"text": text, "came_from": data | seen(folders)}
        note.parent.mkdir(exist_ok=True)
        aside = note.with_name(f".{note.name}.{os.getpid()}.part")
        aside.write_text(json.dumps(kept | {"digest": _digest(kept)}), encoding="utf-8")
        aside.replace(note)


def kept(note: Path) -> str | None:
    """What was printed, if every byte that it came from is as it was."""
    try:
        found = json.loads(note.read_bytes())
        digest = found.pop("digest")
        if digest == _digest(found) and seen(found["came_from"]) == found["came_from"]:
            return str(found["text"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # the long way says what is wrong, where it matters
    return None


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
