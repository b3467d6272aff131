"""Three studies whose cells fill the bank: the classifier, benign images, adversarial examples."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from core import attacks, codec, models, training
from core.data import Data, open_data
from core.errors import InputError
from results import schema
from search.engine.bank import Bank
from search.engine.study import Place, Study
from search.inputs.loading import Inputs, classifier_of, images_of


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which data and which network, as the user named them."""

    data: str
    side: int | None
    data_root: str | None
    download: bool
    model: str
    architecture: str | None
    epochs: int | None
    seed: int

    def open(self) -> Data:
        """The data set; InputError where it cannot be opened."""
        return _open_data(self.data, self.side, self.seed, self.data_root, self.download)


_open_data = lru_cache(maxsize=2)(
    lambda spec, side, seed, root, download: open_data(
        spec, side=side, seed=seed, root=root, download=download
    )
)


@dataclass(frozen=True, kw_only=True)
class ClassifierCell:
    """A network, trained or opened."""

    data: str
    side: int
    fingerprint: str
    model: str
    architecture: str
    weights_file: str  # SHA-256 of a checkpoint's bytes, else empty
    epochs: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class ClassifierRow:
    """One epoch; epoch 0 where nothing was trained."""

    epoch: int
    loss: float
    n_correct: int
    n_images: int
    piece: str
    piece_bytes: int


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


def _fit(source: Source, cell: ClassifierCell, inputs: tuple[Bank, Place]) -> schema.Columns:
    bank, place = inputs
    data = source.open()
    if models.needs_training(source.model):
        model, records = training.fit(
            data,
            source.model,
            epochs=cell.epochs,
            seed=cell.seed,
            device=place.device,
            progress=place.say,
        )
        epochs = [(r.epoch, r.loss, r.n_correct, r.n_images) for r in records]
    else:
        model = models.open_pretrained(
            source.model,
            n_classes=len(data.classes),
            channels=data.channels,
            side=data.side,
            architecture=source.architecture,
        )
        epochs = [(0, 0.0, 0, 0)]
    piece, n_bytes = bank.put(*models.to_tensors(model))
    names = ("epoch", "loss", "n_correct", "n_images")
    columns = {name: [epoch[i] for epoch in epochs] for i, name in enumerate(names)}
    return _with_piece(columns, piece, n_bytes, len(epochs))


def _benign(source: Source, cell: BenignCell, inputs: tuple[Bank, Place]) -> schema.Columns:
    ids = range(cell.first, cell.first + cell.count)
    images, labels = source.open().batch(cell.split, ids)
    return _put_images(cell, inputs, images, labels, torch.tensor(ids))


def _adversarial(cell: AdversarialCell, inputs: tuple[Bank, Place]) -> schema.Columns:
    bank, place = inputs
    benign = images_of(bank, cell.benign)
    right = (benign.undefended == benign.labels).nonzero().flatten()
    chosen = right[benign.ids[right].argsort()][: cell.count]
    images, labels, ids = (part[chosen] for part in (benign.images, benign.labels, benign.ids))
    attack = attacks.Attack(
        name=cell.attack,
        eps_255=cell.eps_255,
        step_255=cell.step_255,
        n_steps=cell.n_steps,
        n_restarts=cell.n_restarts,
    )
    attacked = attacks.on_images(
        attack,
        classifier_of(bank, cell.weights, place.device, "fp32"),
        images.to(place.device),
        labels.to(place.device),
        image_ids=ids.tolist(),
        seed=cell.seed,
    ).cpu()
    if cell.eight_bit:
        attacked = attacks.round_within(attacked, images, eps_255=cell.eps_255, norm=attack.norm)
    return _put_images(cell, inputs, attacked, labels, ids)


def _put_images(
    cell: BenignCell | AdversarialCell,
    inputs: tuple[Bank, Place],
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
) -> schema.Columns:
    bank, place = inputs
    classifier = classifier_of(bank, cell.weights, place.device, cell.precision)
    with torch.inference_mode():
        parts = [
            classifier(codec.to_pixels(part.to(place.device))).float().cpu()
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
    piece, n_bytes = bank.put(tensors)
    columns = {
        "image": tensors["ids"].numpy(),
        "label": tensors["labels"].numpy(),
        "undefended": tensors["undefended"].numpy(),
        "margin": margin[order].double().numpy(),
    }
    return _with_piece(columns, piece, n_bytes, len(images))


def _with_piece(columns: dict[str, Any], piece: str, n_bytes: int, n_rows: int) -> schema.Columns:
    return columns | {"piece": [piece] * n_rows, "piece_bytes": [n_bytes] * n_rows}


def _bank_and_place(_: Any, bank: Bank, place: Place) -> tuple[Bank, Place]:
    return bank, place


def classifier_study(source: Source) -> Study:
    """Training, or opening pretrained weights."""
    evaluate = partial(_fit, source)
    return Study("classifier", 2, ClassifierCell, ClassifierRow, _bank_and_place, evaluate)


def benign_study(source: Source) -> Study:
    """Images as they are, with the undefended prediction of each."""
    evaluate = partial(_benign, source)
    return Study("benign", 2, BenignCell, ImageRow, _bank_and_place, evaluate)


ADVERSARIAL = Study("adversarial", 3, AdversarialCell, ImageRow, _bank_and_place, _adversarial)
