"""What the command line of tuning asks."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from search import flags
from search.command_line import flag
from search.later import later
from search.progress import say

with later():
    from results.files import Root
    from search.tuning import storage
    from search.tuning.storage import Opened


@dataclass(frozen=True, kw_only=True)
class Kept(flags.Flags):
    """How a study is kept and driven."""

    study: str = flag("ensemble", "what the study is called; the same name goes on with it", "NAME")
    storage: str | None = flag(
        None,
        "where its trials are kept: postgresql://USER@HOST/DB or sqlite:///FILE [a journal in the "
        "store's folder]",
        "URL",
    )
    trials: int | None = flag(None, "so many more trials [12]")
    until: int | None = flag(None, "so many trials in all")
    parallel: int | None = flag(None, "trials at a time; what fits unless given")
    reproducible: bool = flag(
        False, "one trial at a time, in strict order: a killed study equals an undisturbed one"
    )

    def __post_init__(self) -> None:
        """InputError for flags that no study can be driven by."""
        if self.trials and self.until:
            raise InputError(
                "expected --trials or --until, got both.\nHint: --until N is N in all."
            )
        if self.reproducible and self.parallel:
            raise InputError(
                "expected --parallel or --reproducible, got both: the latter has one trial at a "
                "time.\nHint: leave one of them out."
            )

    def opened(self, root: Root) -> AbstractContextManager[Opened]:
        """The study's storage, held; InputError, before long work, where it cannot be."""
        return storage.opened(root, self.study, self.storage)

    @property
    def more(self) -> int | None:
        """So many trials more, where it is not said how many in all."""
        return None if self.until else self.trials or 12

    def at_a_time(self, slots: int) -> int:
        """So many trials, where `slots` fit."""
        return 1 if self.reproducible else self.parallel or slots


@dataclass(frozen=True, kw_only=True)
class Flags(Kept, flags.Searched):
    """And of chains: whose members are chosen, and by what."""

    membership: Literal["enumerate", "optuna"] = flag(
        "enumerate", "all subsets of each chain, exactly; or eight booleans that are searched"
    )
    objectives: Literal["single", "multi"] = flag(
        "single", "adversarial images right; or those, benign ones and few members"
    )

    def begun_behind(self, root: Root) -> str | None:
        """The table of the study that goes on, whatever a search has found since; said aloud."""
        with self.opened(root) as opened:
            table = (storage.question_of(opened, self.study) or {}).get("table")
        if table:
            say(f"table {table}: that of the study {self.study} (--table names another)")
        return table
