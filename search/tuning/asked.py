"""What the command line of tuning asks."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from search import flags
from search.flags import flag
from search.later import later

with later():
    from results.files import Root
    from search.tuning import storage
    from search.tuning.storage import Opened


@dataclass(frozen=True, kw_only=True)
class Flags(flags.Searched):
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
    membership: Literal["enumerate", "optuna"] = flag(
        "enumerate", "all subsets of each chain, exactly; or eight booleans that are searched"
    )
    objectives: Literal["single", "multi"] = flag(
        "single", "adversarial images right; or those, benign ones and few members"
    )
    parallel: int | None = flag(None, "chains trained at a time; what fits unless given")
    reproducible: bool = flag(
        False, "one chain at a time, in strict order: a killed study equals an undisturbed one"
    )

    def __post_init__(self) -> None:
        """InputError for flags that no study can be driven by."""
        if self.trials and self.until:
            raise InputError(
                "expected --trials or --until, got both.\nHint: --until N is N in all."
            )
        if self.reproducible and self.parallel:
            raise InputError(
                "expected --parallel or --reproducible, got both: the latter trains one chain at a "
                "time.\nHint: leave one of them out."
            )

    def opened(self, root: Root) -> AbstractContextManager[Opened]:
        """The study's storage, held; InputError, before long work, where it cannot be."""
        return storage.opened(root, self.study, self.storage)
