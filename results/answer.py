"""What a job says, and writing it where people find it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from results.draw import png
from results.store import Store


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Text to print, tables and pictures by name, further files by their names."""

    text: str
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)  # what was left out, and why


def publish(store: Store, study: str, sweep: str, answer: Answer) -> Iterator[tuple[str, str]]:
    """Write an answer into `answers/SWEEP`; what and where, one by one."""
    yield "rows", store.root.path(store.folder(study, sweep))
    files = {"answer.txt": f"{answer.text}\n".encode()}
    files |= {f"{n}.parquet": bytes(f.to_parquet(index=False)) for n, f in answer.frames.items()}
    files |= {f"{name}.png": png(figure) for name, figure in answer.figures.items()}
    files |= answer.files
    for name, data in files.items():
        what = "figure" if name.endswith(".png") else name.partition(".")[0]
        yield what, store.put(f"answers/{sweep}/{name}", data)
