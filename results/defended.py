"""What a defence gains on corrupted images, before networks that stay as they were trained.

On the same held-out images; nothing is chosen.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.counts import Rows
from results.robust import Tested, gain, of_runs, picked_runs, tested
from results.stats import holm
from results.words import moved, text_table

BARE, CORRUPTED, CLEAN = "no defence", "all corrupted", "clean"


@dataclass(frozen=True, eq=False)
class Defended:
    """Right answers of networks alone, and of the same behind each defence."""

    bare: Tested
    behind: Mapping[str, Tested]

    def gains(self) -> Rows:
        """Points gained on clean and on all corrupted images; of the first set on each corruption.

        All severities together, with what is right behind the defence. p by exchange of all that
        belongs to an image (or group), corrected for as many lines as there are (Holm).
        """
        lines = [line for name, own in self.behind.items() for line in self._lines(name, own)]
        return pd.DataFrame(lines).assign(p=holm([line["p"] for line in lines]))

    def _lines(self, defence: str, own: Tested) -> Iterator[dict[str, Any]]:
        corruptions = np.array(own.corruptions)
        for i, training in enumerate(own.settings):
            shown = {CLEAN: (own.clean[:, [i]], self.bare.clean[:, [i]])}
            names = dict.fromkeys(corruptions.tolist()) if i == 0 else ()
            panels = {CORRUPTED: corruptions != ""} | {name: corruptions == name for name in names}
            hits = own.hits[:, i], self.bare.hits[:, i]
            shown |= {name: (hits[0][:, of], hits[1][:, of]) for name, of in panels.items()}
            for images, (after, before) in shown.items():
                n = int(own.trials.sum())
                line = {"defence": defence, "training": training, "images": images, "n": n}
                line["right"] = 100 * after.sum() / (n * after.shape[1])
                yield line | gain(after - before, own.trials)

    def severities(self) -> Rows:
        """Accuracy of the first training set's network over severity, by `family`: the defence."""
        first = np.zeros(len(self.bare.tests), dtype=np.int64)
        return pd.DataFrame(
            {"family": name} | line
            for name, own in ({BARE: self.bare} | dict(self.behind)).items()
            for line in own.severities(first)
        )


def defended(
    rows: Rows, behind: Mapping[str, Rows], settings: Sequence[str], tests: Sequence[str]
) -> Defended:
    """Of rows of the bare networks, the run picked on `search`, and of the same behind defences."""
    bare = of_runs(rows, picked_runs(rows, "search"))
    asked = "report", settings, tests
    return Defended(tested(bare, *asked), {name: tested(r, *asked) for name, r in behind.items()})


def text(gained: Rows) -> str:
    """What `Defended.gains` says."""
    first = gained["training"].iloc[0]
    head = f"points that a defence gains before the network trained on {first}, all severities"
    said = [f"{head} (p: exchange of images or groups, Holm's of {len(gained)})"]
    said.append(text_table(gained[gained["training"] == first], "images", "defence", cell=moved))
    if (gained["training"] != first).any():
        for images in (CORRUPTED, CLEAN):
            own = gained[gained["images"] == images]
            said.append(f"before each network, {images} images")
            said.append(text_table(own, "training", "defence", cell=moved))
    return "\n".join(said)
