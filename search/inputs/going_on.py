"""Training that goes on from where an earlier attempt left it."""

from collections.abc import Callable
from typing import Any

from core.errors import InputError
from core.training.epochs import Training
from search.engine.study import Place
from search.engine.unfinished import Unfinished


def finished(
    begin: Callable[[], Training],
    epochs: int,
    place: Place,
    name: str,
    *,
    look: Callable[[Training], Any] = lambda _: None,
    seen: list[Any] | None = None,
) -> tuple[Training, Unfinished]:
    """Training after so many epochs, from where an earlier attempt left it; and what it keeps.

    What `look` sees after each epoch (JSON) is added to `seen`.
    """
    kept, run = place.kept, begin()
    seen = [] if seen is None else seen
    found = kept.read()
    if found is not None:
        try:
            run.restore(found[0])
            seen += found[1].get("seen", [])
        except InputError as cause:
            kept.set_aside(str(cause).splitlines()[0])
            run = begin()
    while len(run.records) < epochs:
        record = run.epoch(lambda: kept.write(run.state(), {"seen": seen}))
        seen.append(look(run))
        kept.write(run.state(), {"seen": seen})
        right = f"{record.n_correct} of {record.n_images} right, " if record.n_correct else ""
        place.say(
            f"{name}: epoch {record.epoch}/{epochs}: loss {record.loss:.3g}, {right}"
            f"{record.wall_s:.1f} s"
        )
    return run, kept
