"""Copies of a remote bank's pieces: one download a machine, checked, within a share of the disk."""

import errno
import hashlib
import shutil
import tempfile
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from core.errors import InputError
from results.files import Root
from search.engine import ahead, copies
from search.engine.bank import Bank


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Elsewhere:
    """A piece that counts its downloads."""

    def __init__(self, data: bytes) -> None:
        self.data, self.n_reads, self.name = data, 0, hashlib.sha256(data).hexdigest()
        self._lock = threading.Lock()

    def read(self) -> bytes:
        with self._lock:
            self.n_reads += 1
        time.sleep(0.05)
        return self.data

    def copied(self) -> bytes:
        return copies.copied(self.name, self.read)


def test_many_readers_at_once_download_a_piece_once():
    piece = Elsewhere(b"weights")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: piece.copied(), range(8)))
    assert found == [b"weights"] * 8
    assert piece.n_reads == 1


def test_a_torn_copy_is_downloaded_again(temporary):
    piece = Elsewhere(b"weights")
    piece.copied()
    (copy,) = temporary.glob(f"*/{piece.name}")
    copy.write_bytes(b"weight")
    assert piece.copied() == b"weights"
    assert copy.read_bytes() == b"weights"
    assert piece.n_reads == 2


def test_what_is_torn_elsewhere_is_not_kept(temporary):
    piece = Elsewhere(b"weights")
    piece.data = b"weight"
    assert piece.copied() == b"weight"
    assert not [*temporary.glob(f"*/{piece.name}*")]


def test_the_longest_unread_copies_go_where_there_is_no_room(temporary, monkeypatch):
    first, second, third = (Elsewhere(bytes([i]) * 40) for i in range(3))
    usage = namedtuple("usage", "free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: usage(400 - 40 * len([*temporary.glob("*/" + "?" * 64)]))
    )
    for piece in (first, second, first, third):  # a quarter of 400 bytes: two of 40
        piece.copied()
        time.sleep(0.01)
    assert {path.name for path in temporary.glob("*/" + "?" * 64)} == {first.name, third.name}
    large = Elsewhere(b"l" * 101)
    assert large.copied() == large.data
    assert not [*temporary.glob(f"*/{large.name}")]


def test_a_full_disk_and_a_folder_of_somebody_else_cost_no_more_than_the_copy(
    temporary, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    piece = Elsewhere(b"weights")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert [piece.copied(), piece.copied()] == [b"weights"] * 2
    assert piece.n_reads == 2
    (folder,) = temporary.iterdir()
    shutil.rmtree(folder)
    theirs = temporary / "theirs"
    theirs.mkdir()
    folder.symlink_to(theirs)
    assert piece.copied() == b"weights"
    assert not [*theirs.iterdir()]


def test_a_remote_bank_is_read_once_and_a_local_one_has_no_copies(temporary, monkeypatch):
    reads: list[str] = []
    whole = Root.read

    def read(self: Root, name: str) -> bytes:
        reads.append(name)
        return whole(self, name)

    monkeypatch.setattr(Root, "read", read)
    for root in (Root("memory://bank-of-copies"), Root(temporary / "local")):
        bank = Bank(root)
        piece, _ = bank.put({"x": torch.arange(3)})
        for _ in range(2):
            assert bank.get(piece)[0]["x"].tolist() == [0, 1, 2]
    assert len(reads) == 1 + 2
    with pytest.raises(InputError, match="is missing"):
        Bank(Root("memory://bank-of-copies")).get("0" * 64)


@dataclass(frozen=True)
class Cell:
    piece: str
    networks: tuple[str, ...]
    front: str
    label: str = "0" * 63  # one short of a name


def test_pieces_are_found_in_whatever_field_names_them():
    image, network, codec = "a" * 64, "0123456789abcdef" * 4, "f" * 64
    cell = Cell(image, (network, image), f"bls@{codec}+jpeg40")
    assert ahead.pieces_of(cell) == [image, network, codec]


@pytest.mark.parametrize(("place", "n_reads"), [("memory://ahead", 1), ("{}/local", 2)])
def test_what_comes_next_is_fetched_once_and_meanwhile(temporary, monkeypatch, place, n_reads):
    read, begun, go_on = [], threading.Event(), threading.Event()
    whole = Root.read

    def slowly(self: Root, name: str) -> bytes:
        read.append(name)
        begun.set()
        assert go_on.wait(20)
        return whole(self, name)

    bank = Bank(Root(place.format(temporary)))
    piece, _ = bank.put({"x": torch.arange(3)})
    monkeypatch.setattr(Root, "read", slowly)
    ahead.fetch(bank.root, [piece])
    ahead.fetch(bank.root, [piece])
    assert begun.wait(20)
    go_on.set()
    assert bank.get(piece)[0]["x"].tolist() == [0, 1, 2]  # the remote one's from the copy
    ahead.fetch(bank.root, ["0" * 64])  # nobody asked for it yet, so nobody is told that it lacks
    assert read.count(f"bank/{piece}.safetensors") == n_reads
