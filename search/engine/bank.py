"""The bank: tensors that are expensive and shared, stored by content, never pickled.

A piece is a safetensors file named by the SHA-256 of its bytes. Whoever reads it checks that.
"""

import hashlib
import json
from dataclasses import dataclass

import safetensors.torch
from torch import Tensor

from core.errors import InputError
from results.files import Root
from search.engine.copies import copied

_METADATA = "metadata"


@dataclass(frozen=True)
class Bank:
    """Pieces under one root, the store's."""

    root: Root

    @staticmethod
    def _name(piece: str) -> str:
        return f"bank/{piece}.safetensors"

    def put(
        self, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
    ) -> tuple[str, int]:
        """Store tensors; the piece's name and bytes. Storing the same again changes nothing."""
        data = pack(tensors, metadata)
        piece = hashlib.sha256(data).hexdigest()
        if not self.has(piece, len(data)):
            self.root.write(self._name(piece), data)
        return piece, len(data)

    def has(self, piece: str, n_bytes: int | None = None) -> bool:
        """Whether the piece is there (and of that size, where a size is given)."""
        name = self._name(piece)
        return self.root.exists(name) and (n_bytes is None or self.root.size(name) == n_bytes)

    def read(self, piece: str) -> bytes:
        """A piece's bytes, unchecked; OSError where there are none."""

        def read() -> bytes:
            return self.root.read(self._name(piece))

        return read() if self.root.is_local else copied(piece, read)

    def get(self, piece: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The piece's tensors and metadata.

        A piece whose bytes are not what its name says is moved to `aside/bank/` and InputError
        says so: the next run makes it again.
        """
        name = self._name(piece)
        where, hint = self.root.path(name), "Hint: run the same command again; it is made anew."
        try:
            data = self.read(piece)
        except FileNotFoundError:
            raise InputError(f"{where} is missing.\n{hint}") from None
        if hashlib.sha256(data).hexdigest() != piece:
            self.root.move(name, f"aside/{name}")
            raise InputError(
                f"{where} is torn or was changed: its bytes are not those it is named by. "
                f"It was moved to {self.root.path(f'aside/{name}')}.\n{hint}"
            )
        return unpack(data)


def pack(tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> bytes:
    """A safetensors file's bytes, the same for the same content."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry, for the library writes several in no fixed order.
    return safetensors.torch.save(whole, {_METADATA: json.dumps(metadata, sort_keys=True)})


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `pack` packed. SafetensorError, KeyError or ValueError for other bytes, or torn ones."""
    # The header is 8 bytes of length, then JSON (safetensors format description).
    tensors, size = safetensors.torch.load(data), int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return tensors, json.loads(header["__metadata__"][_METADATA]) or {}
