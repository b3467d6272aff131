"""Pictures as cells of the bank: images as they are, and attacked through a victim."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from core import attacks, codec
from core.data import Data
from core.defences import defence_by_name
from core.defences.guarded import Guarded
from core.errors import InputError
from results import schema
from search.engine.study import Made, Place, Study
from search.engine.sweep import Sweeper
from search.inputs.loading import Images, Inputs, Victim, classifier_of, images_of, victim_of
from search.inputs.making import make
from search.inputs.networks import Source, shared_sweep

PIECE_IMAGES = 1000  # images in one piece of the bank
BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class BenignCell(Inputs):
    """Images as they are, and what the undefended network takes them for."""

    weights: str  # the classifier's piece
    split: str  # "search" or "report"
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class AdversarialCell(Inputs):
    """Attacked images, and what the undefended network takes them for."""

    weights: str
    split: str
    benign: str  # the piece attacked
    count: int  # its first so many correctly classified images, by image id
    attack: str
    eps_255: float
    step_255: float
    n_steps: int
    n_restarts: int
    eight_bit: bool  # rounded to 8 bits, as images are


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One image, without any codec."""

    image: int  # id within the split
    label: int
    undefended: int  # class predicted without a codec
    margin: float  # logit of the label minus the largest other: negative where wrong
    piece: str
    piece_bytes: int


@dataclass(frozen=True, kw_only=True)
class ExamplesCell(Inputs):
    """An attack on a block of benign images through a victim."""

    networks: tuple[str, ...]
    tables: tuple[str, ...]
    front: str
    split: str
    images: str  # the piece of benign images
    first: int
    count: int
    attack: str
    eps_255: float
    step_255: float
    n_steps: int
    n_restarts: int
    n_samples: int  # draws a gradient is the mean of (EOT); 0 where the victim draws nothing
    eight_bit: bool


@dataclass(frozen=True, kw_only=True)
class ExamplesRow:
    """One attacked image, in the benign piece's order."""

    image: int
    label: int
    linf_255: float  # largest change of a pixel value
    l2_255: float  # Euclidean length of the change
    piece: str
    piece_bytes: int


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

    def __add__(self, more: "Pictures") -> "Pictures":
        """All of both, of another split or kind."""
        return Pictures((*self.pieces, *more.pieces), self.threat)

    def of(self, split: str) -> "Pictures":
        """Those of one split."""
        return replace(self, pieces=tuple(p for p in self.pieces if p.split == split))


@dataclass(frozen=True)
class Threat:
    """An attack, the kind of threat, and the victim that the attacker differentiates.

    `against` is the one defence that it is aimed at (white box); empty: all meet the same examples.
    """

    kind: str
    attack: attacks.Attack
    victim: Victim
    against: str = ""


def benign(
    engine: Sweeper, source: Source, inputs: Inputs, weights: str, *, split: str, n: int
) -> Pictures:
    """The first n images of a split, with the undefended prediction of each."""
    cells = [
        BenignCell(
            **inputs.fields(),
            weights=weights,
            split=split,
            first=first,
            count=min(PIECE_IMAGES, n - first),
        )
        for first in range(0, n, PIECE_IMAGES)
    ]
    study = Study("benign", 2, BenignCell, ImageRow, _load_benign, partial(_benign, source))
    made = make(engine, study, cells, shared_sweep(inputs), label=f"benign images, {split}")
    return Pictures(tuple(_piece(rows, split, "benign") for rows in made))


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


def under_threat(
    engine: Sweeper,
    inputs: Inputs,
    pictures: Pictures,
    threats: Sequence[Threat],
    *,
    block: int,
    n_samples: int,
) -> list[Pictures]:
    """All images under each threat, in blocks; rounded to 8 bits, as images are."""
    asked = [
        _examples_cell(inputs, threat, part, n_samples)
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


def _examples_cell(inputs: Inputs, threat: Threat, part: Block, n_samples: int) -> ExamplesCell:
    attack, draws = threat.attack, defence_by_name(threat.victim.front).randomised
    # Its authors take one draw a step: a thousand steps are its expectation.
    wanted = 1 if attack.name.startswith("bpda") else n_samples
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
        n_samples=wanted if draws else 0,
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


def _load_benign(cell: BenignCell, place: Place) -> tuple[nn.Module, str]:
    return classifier_of(place.bank, cell.weights, place.device, cell.precision), place.device


def _benign(source: Source, cell: BenignCell, loaded: tuple[nn.Module, str]) -> Made:
    ids = range(cell.first, cell.first + cell.count)
    images, labels = source.open().batch(cell.split, ids)
    return _with_margins(*loaded, images, labels, torch.tensor(ids))


def _load_adversarial(
    cell: AdversarialCell, place: Place
) -> tuple[Images, nn.Module, nn.Module, str]:
    # Attacks need gradients in full precision, whatever the network answers in.
    exact = classifier_of(place.bank, cell.weights, place.device, "fp32")
    answers = classifier_of(place.bank, cell.weights, place.device, cell.precision)
    return images_of(place.bank, cell.benign), exact, answers, place.device


def _adversarial(cell: AdversarialCell, loaded: tuple[Images, nn.Module, nn.Module, str]) -> Made:
    benign, attacked_network, classifier, device = loaded
    right = (benign.undefended == benign.labels).nonzero().flatten()
    chosen = right[benign.ids[right].argsort()][: cell.count]
    images, labels, ids = (part[chosen] for part in (benign.images, benign.labels, benign.ids))
    attack = _attack_of(cell)
    attacked = attacks.on_images(
        attack,
        attacked_network,
        images.to(device),
        labels.to(device),
        image_ids=ids.tolist(),
        seed=cell.seed,
    ).cpu()
    if cell.eight_bit:
        attacked = attacks.round_within(attacked, images, eps_255=cell.eps_255, norm=attack.norm)
    return _with_margins(classifier, device, attacked, labels, ids)


def _attack_of(cell: AdversarialCell | ExamplesCell) -> attacks.Attack:
    return attacks.Attack(
        name=cell.attack,
        eps_255=cell.eps_255,
        step_255=cell.step_255,
        n_steps=cell.n_steps,
        n_restarts=cell.n_restarts,
    )


@torch.inference_mode()
def _with_margins(
    classifier: nn.Module, device: str, images: Tensor, labels: Tensor, ids: Tensor
) -> Made:
    parts = [
        classifier(codec.to_pixels(part.to(device))).float().cpu()
        for part in torch.split(images, 256)
    ]
    logits = torch.cat(parts)
    if not logits.isfinite().all():
        raise InputError(
            "expected finite logits, the network gave NaN or infinity.\n"
            "Hint: its weights or its normalisation are damaged; train it again or give another."
        )
    true = logits.gather(1, labels[:, None])[:, 0]
    margin = true - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    order = margin.argsort(stable=True)
    tensors = {
        "images": images[order],
        "labels": labels[order],
        "ids": ids[order],
        "undefended": logits.argmax(1)[order],
    }
    columns = {
        "image": tensors["ids"].numpy(),
        "label": tensors["labels"].numpy(),
        "undefended": tensors["undefended"].numpy(),
        "margin": margin[order].double().numpy(),
    }
    return Made(columns, tensors)


def _load_examples(cell: ExamplesCell, place: Place) -> tuple[Images, Guarded, str]:
    victim = Victim(cell.networks, cell.tables, cell.front)
    guarded = victim_of(place.bank, victim, place.device, "fp32")  # as its gradients need
    images = images_of(place.bank, cell.images).part(cell.first, cell.count, place.device)
    return images, guarded, place.device


def _examples(cell: ExamplesCell, loaded: tuple[Images, Guarded, str]) -> Made:
    block, victim, device = loaded
    attack = _attack_of(cell)
    attacked = attacks.on_images(
        attack,
        partial(victim, rounding=codec.round_through),
        block.images,
        block.labels.to(device),
        image_ids=block.ids.tolist(),
        seed=cell.seed,
        batch_size=BATCH_SIZE,
        n_samples=cell.n_samples,
    )
    if cell.eight_bit:
        attacked = attacks.round_within(
            attacked, block.images, eps_255=cell.eps_255, norm=attack.norm
        )
    change = 255 * (codec.to_pixels(attacked) - codec.to_pixels(block.images)).flatten(1).double()
    columns = {
        "image": block.ids.numpy(),
        "label": block.labels.numpy(),
        "linf_255": change.abs().amax(1).cpu().numpy(),
        "l2_255": change.norm(dim=1).cpu().numpy(),
    }
    return Made(columns, {"images": attacked.cpu(), "labels": block.labels, "ids": block.ids})


ADVERSARIAL = Study("adversarial", 3, AdversarialCell, ImageRow, _load_adversarial, _adversarial)
EXAMPLES = Study("examples", 3, ExamplesCell, ExamplesRow, _load_examples, _examples)
