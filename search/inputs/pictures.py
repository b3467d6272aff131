"""Pictures: what is known of images in the bank, and having them made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core import attacks
from core.data import Data
from core.errors import InputError
from results import schema
from search.engine.sweep import Sweeper
from search.inputs.images import (
    ADVERSARIAL,
    EXAMPLES,
    ORDERED,
    AdversarialCell,
    BenignCell,
    ExamplesCell,
    OrderedCell,
    benign_study,
)
from search.inputs.loading import Inputs, Victim
from search.inputs.making import make
from search.inputs.networks import Source, shared_sweep

PIECE_IMAGES = 1000  # images in one piece of the bank


@dataclass(frozen=True)
class Piece:
    """Images in the bank and what is known of each, in the piece's order."""

    name: str
    split: str
    subject: str  # "benign" or "adversarial"
    images: np.ndarray
    labels: np.ndarray
    undefended: np.ndarray  # class predicted without a defence; empty where nobody asked

    @property
    def right(self) -> np.ndarray:
        """Which images the undefended network gets right."""
        right: np.ndarray = self.undefended == self.labels
        return right


@dataclass(frozen=True)
class Block:
    """Neighbours in a piece: images of about the same margin."""

    piece: Piece
    first: int
    count: int

    @property
    def images(self) -> np.ndarray:
        """Ids of the block's images."""
        return self.piece.images[self.first : self.first + self.count]

    @property
    def right(self) -> np.ndarray:
        """Which of them the undefended network gets right."""
        return self.piece.right[self.first : self.first + self.count]


def blocks(pieces: Sequence[Piece], size: int) -> Iterator[Block]:
    """Cut pieces into blocks of at most `size` images."""
    for piece in pieces:
        for first in range(0, len(piece.images), size):
            yield Block(piece, first, min(size, len(piece.images) - first))


@dataclass(frozen=True)
class Pictures:
    """Images in the bank, and what was done to them."""

    pieces: tuple[Piece, ...]
    threat: str = "none"  # or "gray", "black", "white"
    attack: attacks.Attack | None = None
    n_samples: int = 0  # draws that a gradient was the mean of
    against: str = ""  # the one victim that they are meant for; empty: all meet the same

    def of(self, split: str) -> "Pictures":
        """Those of one split."""
        return replace(self, pieces=tuple(p for p in self.pieces if p.split == split))

    def firsts(self) -> list[tuple[int, Piece, int]]:
        """The first image of each class there is: its label, its piece and its place there."""
        found: dict[int, tuple[int, Piece, int]] = {}
        for piece in self.pieces:
            labels = zip(piece.labels.tolist(), piece.images.tolist(), strict=True)
            for place, (label, image) in enumerate(labels):
                if label not in found or image < found[label][0]:
                    found[label] = (image, piece, place)
        return [(label, *found[label][1:]) for label in sorted(found)]


@dataclass(frozen=True)
class Threat:
    """An attack, the kind of threat, and the victim that the attacker differentiates.

    `against` is the one defence that it is aimed at (white box); empty: all meet the same examples.
    Of a randomised victim a gradient is the mean of `n_draws` (EOT).
    """

    kind: str
    attack: attacks.Attack
    victim: Victim
    against: str = ""
    n_draws: int = 0


def benign(
    engine: Sweeper, source: Source, inputs: Inputs, weights: str, *, n: Mapping[str, int]
) -> Pictures:
    """The first n images of each split, with the undefended prediction of each."""
    cells = [
        BenignCell(
            **inputs.fields(),
            weights=weights,
            split=split,
            first=first,
            count=min(PIECE_IMAGES, wanted - first),
        )
        for split, wanted in n.items()
        for first in range(0, wanted, PIECE_IMAGES)
    ]
    made = make(engine, benign_study(source), cells, shared_sweep(inputs), label="benign images")
    pieces = zip(made, cells, strict=True)
    return Pictures(tuple(_piece(rows, cell.split, "benign") for rows, cell in pieces))


def first_right(
    engine: Sweeper,
    inputs: Inputs,
    weights: str,
    pictures: Pictures,
    wanted: Sequence[attacks.Attack],
    *,
    n: Mapping[str, int],
    eight_bit: bool,
) -> list[Pictures]:
    """Of each split the first n images that the network gets right, by each attack on it."""
    splits = dict.fromkeys(piece.split for piece in pictures.pieces)
    shares = [s for name in splits for s in share_out(pictures.of(name).pieces, n[name])]
    cells = [
        AdversarialCell(
            **inputs.fields(),
            weights=weights,
            split=piece.split,
            benign=piece.name,
            count=count,
            attack=attack.name,
            eps_255=attack.eps_255,
            step_255=attack.step_255,
            n_steps=attack.n_steps,
            n_restarts=attack.n_restarts,
            eight_bit=eight_bit,
        )
        for attack in wanted
        for piece, count in shares
    ]
    made = make(engine, ADVERSARIAL, cells, shared_sweep(inputs), label="adversarial examples")
    pieces = [_piece(r, c.split, "adversarial") for r, c in zip(made, cells, strict=True)]
    n_pieces = len(shares)
    return [
        Pictures(tuple(pieces[i * n_pieces : (i + 1) * n_pieces]), "gray", attack)
        for i, attack in enumerate(wanted)
    ]


def in_order(
    engine: Sweeper, inputs: Inputs, weights: str, pieces: Sequence[Piece], codec: str
) -> list[Piece]:
    """The same images, each piece by the margins behind a codec, the most wrong first."""
    cells = [
        OrderedCell(
            **inputs.fields(),
            weights=weights,
            split=piece.split,
            subject=piece.subject,
            images=piece.name,
            count=len(piece.images),
            codec=codec,
        )
        for piece in pieces
    ]
    made = make(engine, ORDERED, cells, shared_sweep(inputs), label="order of images")
    return [_piece(r, c.split, c.subject) for r, c in zip(made, cells, strict=True)]


def under_threat(
    engine: Sweeper, inputs: Inputs, pictures: Pictures, threats: Sequence[Threat], *, block: int
) -> list[Pictures]:
    """All images under each threat, in blocks; rounded to 8 bits, as images are."""
    asked = [
        _examples_cell(inputs, threat, part)
        for threat in threats
        for part in blocks(pictures.pieces, block)
    ]
    sweep = shared_sweep(inputs, "examples")
    made = make(engine, EXAMPLES, asked, sweep, label="adversarial examples")
    pieces = iter(_piece(r, c.split, "adversarial") for r, c in zip(made, asked, strict=True))
    n_parts = len(asked) // max(1, len(threats))
    return [
        Pictures(
            tuple(next(pieces) for _ in range(n_parts)),
            threat.kind,
            threat.attack,
            asked[i * n_parts].n_samples,
            threat.against,
        )
        for i, threat in enumerate(threats)
    ]


def _examples_cell(inputs: Inputs, threat: Threat, part: Block) -> ExamplesCell:
    attack = threat.attack
    return ExamplesCell(
        **inputs.fields(),
        **threat.victim.fields(),
        split=part.piece.split,
        images=part.piece.name,
        first=part.first,
        count=part.count,
        attack=attack.name,
        eps_255=attack.eps_255,
        step_255=attack.step_255,
        n_steps=attack.n_steps,
        n_restarts=attack.n_restarts,
        n_samples=threat.n_draws,
        eight_bit=True,
    )


def share_out(pieces: Sequence[Piece], n_wanted: int) -> list[tuple[Piece, int]]:
    """How many examples to make of each piece: of the first correctly classified images."""
    right = sum(int(piece.right.sum()) for piece in pieces)
    if not 1 <= n_wanted <= right:
        raise InputError(
            f"{n_wanted} adversarial examples of the {pieces[0].split} split need as many "
            f"correctly classified images; the network gets {right} of "
            f"{sum(len(p.images) for p in pieces)} right.\n"
            "Hint: fewer examples (--adversarial, --report-adversarial), more benign images "
            "(--benign, --report-benign), or a better network (--epochs)."
        )
    shares: list[tuple[Piece, int]] = []
    for piece in pieces:
        share = min(int(piece.right.sum()), n_wanted - sum(count for _, count in shares))
        if share:
            shares.append((piece, share))
    return shares


def n_of(data: Data, split: str, wanted: int | None, flag: str) -> int:
    """How many images of a split; None: 1000, or the whole split where it is smaller."""
    size = data.size(split)
    if wanted is None:
        return min(1000, size)
    if not 1 <= wanted <= size:
        raise InputError(
            f"{flag} must lie in 1..{size}, the images in the {split} split of {data.spec}, "
            f"got {wanted}.\nHint: leave {flag} out for as many as there are, up to 1000."
        )
    return wanted


def _piece(rows: schema.Table, split: str, subject: str) -> Piece:
    names = rows.column_names
    image, label, undefended = (
        schema.column(rows, name) if name in names else np.array([], dtype=np.int64)
        for name in ("image", "label", "undefended")
    )
    return Piece(str(schema.column(rows, "piece")[0]), split, subject, image, label, undefended)
