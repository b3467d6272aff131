"""Networks trained on transformed images, as cells, and how each classifies whatever images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core import codec, models, seeds, training
from core.data import Data
from core.data.arrays import ArrayData, Pool
from core.errors import InputError
from core.parts import in_parts
from core.training.epochs import MOMENTUM, WEIGHT_DECAY, Training
from core.training.steps import PlainStep
from core.transforms import mixed, parts_of, shares_of
from results import schema
from search import flags
from search.engine.study import Made, Place, Study
from search.inputs.going_on import finished
from search.inputs.loading import Inputs, Victim, classifier_of, tensors_of, victim_of
from search.inputs.making import piece_of
from search.inputs.networks import Source
from search.measures import transformed

BATCH_SIZE = 250
EPOCHS = 4
TOP = 5


@dataclass(frozen=True, kw_only=True)
class Network:
    """How a network is trained: what of it stands in every row."""

    data: str
    side: int
    fingerprint: str
    seed: int
    network: str  # that is trained, as `--model` reads it
    training: str  # transform of its training images, joined or mixed ones with +
    run: int  # training of its own: other first weights, order and augmentation
    epochs: int
    learning_rate: float
    batch_size: int
    shift: int


@dataclass(frozen=True, kw_only=True)
class TrainCell(Network):
    """One training, by plain momentum at a constant rate."""

    pieces: tuple[str, ...]  # of transformed training images; the original ones are not among them
    tested: tuple[str, ...]  # pieces of held-out images after the same transform


@dataclass(frozen=True, kw_only=True)
class TrainRow:
    """One epoch and the images that were then classified; the piece holds the last network."""

    epoch: int
    split: str
    test: str  # transform of the images: none, or that of the training images
    loss: float  # mean
    n_correct: int  # of the images classified
    n_correct_top5: int  # those whose class is among the five most likely
    n_images: int
    train_loss: float  # mean, while the weights move
    train_n_correct: int  # while the weights move
    train_n_images: int  # of an epoch
    epoch_wall_s: float  # of the training alone
    piece: str
    piece_bytes: int


@dataclass(frozen=True, kw_only=True)
class Cell(Network):
    """A trained network and a block of images after a transform."""

    weights: str
    test: str  # transform of the images: `none`, or such as `fog@3`
    split: str
    piece: str
    first: int  # position in the piece
    count: int


@dataclass(frozen=True, kw_only=True)
class DefendedCell(Cell):
    """The same network behind a defence."""

    defence: str  # as its users call it
    front: str  # a learned codec by its piece


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image."""

    image: int  # id within the split
    label: int
    predicted: int


Images = Mapping[transformed.Cell, schema.Table]  # made, and their rows
Loaded = tuple[nn.Module, Mapping[str, Tensor], str]


def train_study(source: Source) -> Study[TrainCell, Place]:
    """Training on a source's images or on pieces of the bank, which goes on after a kill."""
    return Study("augmented", 1, TrainCell, TrainRow, _here, partial(_train, source))


def study(name: str) -> Study[Cell, Loaded]:
    """Classes of every image; studies that ask different questions have their own names."""
    return Study(name, 1, Cell, Row, _load, _evaluate, n_rows=lambda cell: cell.count)


def defended_study(name: str) -> Study[DefendedCell, Loaded]:
    """The same behind a defence; a randomised one draws once, from the seed and an image's id."""
    how = _load_defended, _evaluate_defended
    return Study(name, 1, DefendedCell, Row, *how, n_rows=lambda cell: cell.count)


def _here(_: TrainCell, place: Place) -> Place:
    return place


def check(networks: Sequence[str], sets: Sequence[str]) -> None:
    """InputError unless there are networks to train, and different sets to train them on."""
    for name in networks:
        if models.check_name(name).source != "train":
            raise InputError(
                f"expected a network that is trained here, got {name!r}, which has weights.\n"
                "Hint: vgg11_5, small_resnet, or train:NAME for any of torchvision's."
            )
    for what, given in (("networks", networks), ("training sets", sets)):
        if not given or len(set(given)) < len(given):
            raise InputError(
                f"expected different {what}, at least one, got {' '.join(given) or 'nothing'}.\n"
                "Hint: training sets are such as none jpeg20 noise0.05, networks such as vgg11_5."
            )


def data_of(data: Data, transform: str, pieces: Sequence[Mapping[str, Tensor]], seed: int) -> Data:
    """The data with other training images: those of the pieces, after those there are if joined.

    Mixed ones are drawn by the seed, once. The data themselves where nothing is changed. Of all
    splits only `train` is there otherwise.
    """
    if not pieces:
        return data
    parts, names = [(piece["images"], piece["labels"]) for piece in pieces], parts_of(transform)
    if "none" in names:
        parts.insert(0, data.batch("train", range(data.size("train"))))
    images, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    if shares := shares_of(transform):
        n = data.size("train")
        plain_first = sorted(zip(names, shares, strict=True), key=lambda pair: pair[0] != "none")
        generator = seeds.generator(seed, "mixed")
        part = mixed([share for _, share in plain_first], n, generator)
        places = part * n + torch.arange(n)
        images, labels = images[places], labels[places]
    pool = (transform, Pool(images=images.numpy(), labels=labels.numpy()))
    return ArrayData(
        spec=data.spec,
        classes=data.classes,
        pools={"train": pool, "report": pool},
        picks={"train": np.arange(len(labels)), "report": np.arange(0)},
    )


def begin(data: Data, cell: TrainCell, device: str) -> Training:
    """Training of a cell's network on a data set's training images, at its beginning."""
    seed = cell.seed + cell.run
    return Training(
        training.fresh(data, models.parse_spec(cell.network).name, seed),
        data,
        step=PlainStep(),
        rate=lambda _, __: cell.learning_rate,
        batch_size=cell.batch_size,
        shift=cell.shift,
        seed=seed,
        device=device,
        optimiser=partial(torch.optim.SGD, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
    )


def _train(source: Source, cell: TrainCell, place: Place) -> Made:
    data = source.open("train")
    images = [place.bank.get(piece)[0] for piece in cell.pieces]
    changed = data_of(data, cell.training, images, cell.seed)
    same = [place.bank.get(piece)[0] for piece in cell.tested]

    def look(run: Training) -> list[tuple[Any, ...]]:
        network = run.model.eval()
        found = []
        for split in ("search", "report"):
            parts = (
                data.batch(split, range(first, min(first + BATCH_SIZE, data.size(split))))
                for first in range(0, data.size(split), BATCH_SIZE)
            )
            found.append((split, "none", *counted(network, parts, place.device)))
        if same:
            blocks = (
                (piece["images"][first : first + BATCH_SIZE], piece["labels"][first:][:BATCH_SIZE])
                for piece in same
                for first in range(0, len(piece["labels"]), BATCH_SIZE)
            )
            found.append(("report", cell.training, *counted(network, blocks, place.device)))
        return found

    name = f"{cell.network} on {cell.training}, run {cell.run}"
    start = partial(begin, changed, cell, place.device)
    seen: list[Any] = []
    run, kept = finished(start, cell.epochs, place, name, look=look, seen=seen)
    rows = [
        (r.epoch, *found, r.loss, r.n_correct, r.n_images, r.wall_s)
        for r, looked in zip(run.records, seen, strict=True)
        for found in looked
    ]
    names = list(TrainRow.__annotations__)[: len(rows[0])]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    assert isinstance(run.model, models.Normalised)
    return Made(columns, *models.to_tensors(run.model), unfinished=kept)


@torch.inference_mode()
def counted(
    model: nn.Module, parts: Iterator[tuple[Tensor, Tensor]], device: str
) -> tuple[float, int, int, int]:
    """Mean loss, right answers, those among the first five, and images of (images, labels)."""
    loss, n_correct, n_among, n = 0.0, 0, 0, 0
    for images, labels in parts:
        logits, true = model(codec.to_pixels(images.to(device))), labels.to(device)
        loss += float(functional.cross_entropy(logits, true, reduction="sum"))
        first = logits.topk(min(TOP, logits.shape[1])).indices == true[:, None]
        n_correct += int(first[:, 0].sum())
        n_among += int(first.sum())
        n += len(labels)
    return loss / n, n_correct, n_among, n


def _load(cell: Cell, place: Place) -> Loaded:
    network = classifier_of(place.bank, cell.weights, place.device, "fp32")
    return network, tensors_of(place.bank, cell.piece), place.device


def _evaluate(cell: Cell, loaded: Loaded) -> schema.Columns:
    network, tensors, device = loaded
    return _classified(cell, tensors, lambda i8, _: network(codec.to_pixels(i8.to(device))))


def _load_defended(cell: DefendedCell, place: Place) -> Loaded:
    victim = Victim((cell.weights,), ("",), cell.front)
    network = victim_of(place.bank, victim, place.device, "fp32")
    return network, tensors_of(place.bank, cell.piece), place.device


def _evaluate_defended(cell: DefendedCell, loaded: Loaded) -> schema.Columns:
    network, tensors, device = loaded

    def logits(images: Tensor, ids: list[int]) -> Tensor:
        draws = [seeds.generator(cell.seed, "defended", name) for name in ids]
        return network(codec.to_pixels(images.to(device)), draws)  # type: ignore[no-any-return]

    return _classified(cell, tensors, logits)


@torch.inference_mode()
def _classified(
    cell: Cell, tensors: Mapping[str, Tensor], logits: Callable[[Tensor, list[int]], Tensor]
) -> schema.Columns:
    """Classes of the cell's images; `logits` are asked of images in levels and their ids."""
    rows = slice(cell.first, cell.first + cell.count)
    images, labels, ids = (tensors[name][rows] for name in ("images", "labels", "ids"))

    def classes(part: slice) -> Tensor:
        return logits(images[part], ids[part].tolist()).argmax(1).cpu()

    predicted = torch.cat(in_parts(classes, len(ids), BATCH_SIZE))
    return {"image": ids.numpy(), "label": labels.numpy(), "predicted": predicted.numpy()}


def train_cells(
    inputs: Inputs,
    networks: Sequence[str],
    sets: Sequence[str],
    images: Images,
    asked: flags.Augmented,
) -> Iterator[TrainCell]:
    """Every network on every training set, several times, from images after their transforms."""
    pieces: dict[tuple[str, str], list[str]] = {}
    for made, rows in images.items():
        pieces.setdefault((made.transform, made.split), []).append(piece_of(rows))
    for run in range(asked.runs):
        for network in networks:
            for name in sets:
                own = [p for part in parts_of(name) for p in pieces.get((part, "train"), [])]
                yield TrainCell(
                    data=inputs.data,
                    side=inputs.side,
                    fingerprint=inputs.fingerprint,
                    seed=inputs.seed,
                    network=network,
                    training=name,
                    run=run,
                    epochs=asked.epochs or EPOCHS,
                    learning_rate=asked.learning_rate,
                    batch_size=asked.batch,
                    shift=asked.shift,
                    pieces=tuple(own),
                    tested=tuple(pieces.get((name, "report"), [])),
                )


def cells(
    trained: Mapping[TrainCell, schema.Table], tests: Images, *, block: int
) -> Iterator[Cell]:
    """Every network, from the rows of its training, on all images after transforms."""
    for network, epochs in trained.items():
        whole, weights = asdict(network), piece_of(epochs)
        own = {name: whole[name] for name in Network.__dataclass_fields__}
        for made, rows in tests.items():
            for first in range(0, made.count, block):
                yield Cell(
                    **own,
                    weights=weights,
                    test=made.transform,
                    split=made.split,
                    piece=piece_of(rows),
                    first=first,
                    count=min(block, made.count - first),
                )


def defended_cells(
    trained: Mapping[TrainCell, schema.Table],
    tests: Images,
    fronts: Mapping[str, str],
    *,
    block: int,
) -> Iterator[DefendedCell]:
    """The same behind each defence, which `fronts` names as cells do; a victim's are neighbours."""
    for name, front in fronts.items():
        for cell in cells(trained, tests, block=block):
            yield DefendedCell(**vars(cell), defence=name, front=front)
