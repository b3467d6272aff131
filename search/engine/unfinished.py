"""Work that is under way, kept in the store from step to step.

A state is one safetensors file per cell, replaced whole after each step and deleted when the cell
has its result. It carries a digest of its content and the cell it belongs to; what does not match
is moved to `aside/` and the cell starts from the beginning. Nothing is unpickled.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors
from torch import Tensor

from core.digests import digest
from search.engine.bank import Bank, pack, unpack

_DIGEST = "digest"


@dataclass(frozen=True)
class Unfinished:
    """Where one cell's work is kept."""

    bank: Bank
    cell_id: str
    say: Callable[[str], None]

    @property
    def name(self) -> str:
        """The file, within the store's root."""
        return f"training/{self.cell_id}.safetensors"

    def write(self, tensors: dict[str, Tensor], notes: dict[str, Any]) -> None:
        """Replace what is kept; a kill leaves the one or the other, whole."""
        text = json.dumps(notes, sort_keys=True)
        metadata = {"notes": text, _DIGEST: self._digest(tensors, text)}
        self.bank.root.write(self.name, pack(tensors, metadata))

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What is kept, None where there is nothing of use."""
        try:
            data = self.bank.root.read(self.name)
        except FileNotFoundError:
            return None
        try:
            tensors, metadata = unpack(data)
            text = metadata["notes"]
            if metadata[_DIGEST] == self._digest(tensors, text):
                return tensors, json.loads(text)
            reason = "its content is not what its digest says, or is of another cell"
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as cause:
            reason = f"it is no whole training state: {cause}"
        self.set_aside(reason)
        return None

    def set_aside(self, reason: str) -> None:
        """Move it away and say why; the cell then starts from the beginning."""
        root, aside = self.bank.root, f"aside/{self.name}"
        root.move(self.name, aside)
        self.say(
            f"warning: {root.path(self.name)} cannot be used ({reason}); moved to "
            f"{root.path(aside)}, the cell starts from the beginning"
        )

    def remove(self) -> None:
        """Forget it: the cell has its result."""
        self.bank.root.delete(self.name)

    def _digest(self, tensors: dict[str, Tensor], notes: str) -> str:
        names = sorted(tensors)
        arrays = [tensors[name].detach().cpu().numpy() for name in names]
        return digest(self.cell_id, notes, names, arrays=arrays)
