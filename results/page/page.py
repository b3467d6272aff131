"""One page of a whole store: states, answers, figures, and how each was made.

The page is one file that needs nothing else: figures are inside it, and its policy forbids the
browser to fetch anything. All that comes from the store is escaped on its way in. The same store
gives the same bytes; only a running sweep is told by the clock.
"""

import base64
import datetime as dt
import hashlib
import re
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import jinja2

from results.files import denied
from results.page.contents import join, sweeps
from results.store import Store

_PAGE = "report.html"


def write_report(store: Store, out: Path | None) -> str:
    """Write the page of a store to a file, `report.html` in its folder unless given; where it is.

    ValueError where the store holds no rows, or no file is given and it is no folder or read-only.
    """
    if out is None and not store.root.is_local:
        raise ValueError(
            f"expected --out FILE, since {store.root.uri} is no folder.\nHint: --out report.html"
        )
    data = page(store, _progress)
    if out is None:
        try:
            return store.put(_PAGE, data)
        except OSError as error:
            if not denied(error):
                raise
            raise ValueError(f"{store.root.uri} takes no files.\nHint: --out {_PAGE}") from error
    out.write_bytes(data)
    return str(out)


def _progress(n_done: int, n_sweeps: int) -> None:
    start, ending = "\r" * sys.stderr.isatty(), "\n" * (n_done == n_sweeps)
    if start or ending:
        print(f"{start}{n_done} of {n_sweeps} sweeps read", end=ending, file=sys.stderr, flush=True)


def page(store: Store, tell: Callable[[int, int], None] = lambda _, __: None) -> bytes:
    """The page of a store, HTML in UTF-8. `tell` hears how many sweeps of how many are read.

    ValueError where the store holds no rows.
    """
    if not store.root.folders("rows"):
        raise ValueError(
            f"expected a store with rows, found none in {store.root.uri}.\n"
            "Hint: --store names another; a job with --store makes one."
        )
    found = sorted(sweeps(store, tell), key=lambda sweep: sweep.updated_at, reverse=True)
    join(found)
    source = files("results.page").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = duration
    text = environment.from_string(source).render(
        uri=store.root.uri,
        policy=_policy(source),
        questions=[sweep for sweep in found if sweep.is_question],
        preparations=[sweep for sweep in found if not sweep.is_question],
    )
    return text.encode("utf-8", "replace")  # a stored text may hold half a surrogate pair


def duration(wall_s: float) -> str:
    """Seconds for people: "3.1 s", "0:02:05"."""
    return f"{wall_s:.1f} s" if wall_s < 60 else f"{dt.timedelta(seconds=round(wall_s))}"


def _policy(source: str) -> str:
    """A Content-Security-Policy that allows the template's own style and script, no fetching."""
    allowed = []  # neither holds anything of the template language: their text is the page's
    for tag in ("style", "script"):
        inside = "".join(re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.DOTALL))
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        allowed.append(f"{tag}-src 'sha256-{digest}'")
    nothing_else = ("base-uri 'none'", "form-action 'none'")
    return "; ".join(["default-src 'none'", "img-src data:", *allowed, *nothing_else])
