"""Networks as cells of the bank: the classifier, trained or opened."""

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import codec, models, training
from core.data import SPLITS, Data, Split, open_data
from core.data.folder import FolderData
from core.errors import InputError
from core.known import PUBLISHED
from core.training.epochs import EpochRecord, check_learned, check_trainable, nothing_learned
from results import schema
from results.shown import redacted
from search.engine.study import Made, Place, Study
from search.engine.sweep import Sweeper
from search.flags import RECIPE
from search.inputs.going_on import finished
from search.inputs.loading import Inputs
from search.inputs.making import make, sweep_name
from search.progress import say

SHIPPED = Path(__file__).with_name("digits-small_resnet.safetensors")
OPENED = EpochRecord(epoch=0, loss=0.0, n_correct=0, n_images=0, wall_s=0.0)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which data and which network, as the user named them."""

    data: str
    side: int | None
    data_root: str | None
    download: bool
    model: str
    architecture: str | None
    normalise: str | None
    epochs: int | None
    seed: int
    learning_rate: float | None = None  # this and what follows: usual unless given
    schedule: str | None = None
    batch: int | None = None
    retrain: bool = False  # train, though weights are shipped
    digests: tuple[str, ...] = ()  # of a folder's splits, as the driver sees them

    def seen(self) -> "Source":
        """With what this process sees, for `open` to hold other machines to."""
        data = self.open()
        if not isinstance(data, FolderData):
            return self
        return replace(self, digests=tuple(data.digest(split) for split in SPLITS))

    def open(self, split: Split | None = None) -> Data:
        """The data set. InputError where it cannot be opened, or that split is not as `seen`."""
        data = _open_data(self.data, self.side, self.seed, self.data_root, self.download)
        if not (split and self.digests and isinstance(data, FolderData)):
            return data
        if data.digest(split) != self.digests[SPLITS.index(split)]:
            raise InputError(
                f"expected the {split} images of {data.tree.address()} as the driver sees them, "
                f"found {data.size(split)}, not all the same, on {platform.node()}.\n"
                "Hint: the folder must hold the same files on every node; look at mounts and "
                "links there, and whether it was changed since."
            )
        return data


@lru_cache(maxsize=2)
def _open_data(spec: str, side: int | None, seed: int, root: str | None, download: bool) -> Data:
    return open_data(spec, side=side, seed=seed, root=root, download=download)


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


def classifier_cell(source: Source, data: Data) -> ClassifierCell:
    """Which classifier is wanted; InputError for an unknown name or a missing checkpoint."""
    parsed = models.check_name(source.model)
    trains = models.needs_training(source.model)
    epochs = (source.epochs or training.default_epochs(source.data, source.model)) if trains else 0
    _check_trained(source, trains=trains)
    if source.architecture and parsed.source != "checkpoint":
        raise InputError(
            f"--architecture names the network of a checkpoint, but --model is {source.model!r}.\n"
            "Hint: leave --architecture out."
        )
    if (source.download or source.data_root) and source.data not in PUBLISHED:
        raise InputError(
            f"--download and --data-root are for {', '.join(PUBLISHED)}, but --data is "
            f"{source.data!r}.\nHint: leave them out."
        )
    if source.normalise and not source.architecture:
        raise InputError(
            "--normalise is for a checkpoint that was saved elsewhere, whose --architecture is "
            f"named too, but --model is {source.model!r}.\nHint: leave --normalise out."
        )
    models.check_fits(source.model, n_classes=len(data.classes))
    weights_file, normalised = "", ""
    if parsed.source == "checkpoint":
        normalised = _normalised(source, data)
        weights_file = hashlib.sha256(Path(parsed.name).read_bytes()).hexdigest()
    cell = ClassifierCell(
        data=data_label(source.data),
        side=data.side,
        fingerprint=data.fingerprint,
        model=model_label(source.model) + normalised,
        architecture=source.architecture or "",
        weights_file=weights_file,
        epochs=epochs,
        seed=source.seed,
    )
    given = said(source, RECIPE)
    if given and not source.retrain and _shipped(cell):
        raise InputError(
            f"{given[0]} is of training, but {cell.model} for {cell.data} comes with its weights.\n"
            f"Hint: --retrain trains it here; or leave {given[0]} out."
        )
    return replace(cell, model=cell.model + recipe_label(source)) if trains else cell


def said(source: Source, names: Sequence[str]) -> list[str]:
    """The flags among some of a source that were given."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(source, name) is not None]


def _check_trained(source: Source, *, trains: bool) -> None:
    """InputError for flags of training where the network has its weights."""
    given = ["--retrain"] * source.retrain + said(source, ("epochs", *RECIPE))
    if given and not trains:
        raise InputError(
            f"{given[0]} trains a network, but {source.model!r} comes with its weights.\n"
            f"Hint: leave {given[0]} out, or train one here: --model small_resnet or train:NAME."
        )


def recipe_label(source: Source) -> str:
    """How a network is trained where that is not usual for it; so its name in rows goes on."""
    usual = training.usual(source.model)
    rate, schedule, batch = source.learning_rate, source.schedule, source.batch
    label = ""
    if rate not in (None, usual.learning_rate):
        label += f", learning rate {rate}"  # all its digits: another rate is another network
    if schedule not in (None, usual.schedule):
        label += f", {schedule}"
    if batch not in (None, usual.batch_size):
        label += f", batch {batch}"
    return label


def _normalised(source: Source, data: Data) -> str:
    """Say how a checkpoint's images are normalised; in rows, where they were not always so."""
    model = _opened(source, data)
    found = models.Statistics(*(tuple(p.flatten().tolist()) for p in (model.mean, model.std)))
    architecture, why, before = source.architecture, "as the file says", found
    if architecture:
        usual = models.published(architecture)
        before = usual if architecture.startswith("timm:") else models.IMAGENET
        if source.normalise:
            why = "as --normalise says"
        elif found.text == usual.text:
            why = f"as published for {architecture}; --normalise says otherwise"
    say(f"{model_label(source.model)}: pixels are normalised by {found.text} (mean/std), {why}")
    return "" if found.text == before.text else f", normalised {found.text}"


def say_right(model: str, right: np.ndarray, *, n_classes: int) -> None:
    """Say how many benign images a network that was not trained here gets right."""
    share, chance = float(right.mean()), 1 / n_classes
    say(f"{model}: {right.sum()} of {len(right)} benign images right ({share:.1%})")
    if share < chance + (1 - chance) / 10:
        say(
            f"warning: that is near guessing {n_classes} classes. Is this the normalisation "
            "that it was trained with (--normalise), the order of the classes, the side?"
        )


def _say_better(
    source: Source, data: Data, model: models.Normalised, place: Place, n_images: int = 64
) -> None:
    """Warn where another usual normalisation gets clearly more images right than the one used."""
    n = min(n_images, data.size("search"))
    images, labels = data.batch("search", range(n))
    pixels, n_channels = codec.to_pixels(images).to(place.device), model.mean.shape[1]
    backbone = model.backbone.to(place.device)
    used = models.Statistics(*(tuple(p.flatten().tolist()) for p in (model.mean, model.std)))
    tried = {used.text: used}
    for text in ("imagenet", "none", "0.5")[n_channels == 1 :]:
        other = models.parse_statistics(text, n_channels)
        tried.setdefault(other.text, other)
    right = {}
    for text, (mean, std) in tried.items():
        one = models.Normalised(backbone, mean=mean, std=std, blueprint=model.blueprint)
        with torch.inference_mode():
            logits = one.to(place.device)(pixels)
        right[text] = int((logits.argmax(1).cpu() == labels).sum())
    model.cpu()
    best = max(right, key=lambda text: right[text])
    if right[best] > right[used.text] + n / 8:
        place.say(
            f"warning: normalised by {used.text}, {model_label(source.model)} gets "
            f"{right[used.text]} of {n} images right, by {best} {right[best]}. "
            f"Is it --normalise {best}?"
        )


def _opened(source: Source, data: Data) -> models.Normalised:
    return models.open_pretrained(
        source.model,
        n_classes=len(data.classes),
        channels=data.channels,
        side=data.side,
        architecture=source.architecture,
        normalise=source.normalise,
    )


def data_label(spec: str) -> str:
    """The data's name in rows: a folder, or a URI's last part, without where it lies."""
    kind, _, path = spec.partition(":")
    return f"{kind}:{Path(redacted(path)).name}" if path else kind


def model_label(spec: str) -> str:
    """The model's name in rows: a checkpoint without where it lies."""
    kind, _, path = spec.partition(":")
    return f"{kind}:{Path(path).name}" if kind == "checkpoint" else spec


def shared_sweep(cell: ClassifierCell | Inputs, *words: str) -> str:
    """Where what all studies of a data set share has its rows."""
    return sweep_name([cell.data, str(cell.side), *words], cell.fingerprint)


def classifier(engine: Sweeper, source: Source, cell: ClassifierCell, *, label: str) -> str:
    """The piece of a classifier, trained or opened where it is not in the bank.

    A store that holds one, trained there, goes on with it; else shipped weights spare the training
    of the one cell that they are of.
    """
    study = Study(
        "classifier",
        2,
        ClassifierCell,
        ClassifierRow,
        _here,
        partial(_classifier, source),
        n_rows=lambda cell: None if _shipped(cell) else max(1, cell.epochs),
    )
    data = source.open()
    if models.needs_training(source.model):
        check_trainable(data)
    n_classes = len(data.classes)
    (rows,) = make(
        engine,
        study,
        [cell],
        shared_sweep(cell),
        label=label,
        whole_node=True,
        usable=lambda rows: learned(rows, n_classes) and not (source.retrain and opened(rows)),
    )
    return str(schema.column(rows, "piece")[0])


def learned(rows: schema.Table, n_classes: int) -> bool:
    """Whether stored training came to something; a network that was opened has none."""
    if opened(rows):
        return True
    names = ("epoch", "loss", "n_correct", "n_images")
    epochs = zip(*(schema.column(rows, name).tolist() for name in names), strict=True)
    records = [
        EpochRecord(epoch=epoch, loss=loss, n_correct=right, n_images=n, wall_s=0.0)
        for epoch, loss, right, n in epochs
    ]
    return not nothing_learned(records, n_classes)


def opened(rows: schema.Table) -> bool:
    """Whether a stored network came with its weights, published or shipped."""
    return bool(schema.column(rows, "epoch")[0] == 0)


def _shipped(cell: ClassifierCell) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Weights that come with the package, of the one cell whose outcome they are."""
    tensors, metadata = models.read_tensors(SHIPPED)
    same = json.loads(metadata["training"])["cell"] == asdict(cell)
    return (tensors, metadata) if same else None


def _here(_: ClassifierCell, place: Place) -> Place:
    return place


def _classifier(source: Source, cell: ClassifierCell, place: Place) -> Made:
    shipped = _shipped(cell)
    if shipped and not source.retrain:
        place.say(f"{cell.model} for {cell.data}: weights as shipped (--retrain trains them here)")
        return Made(columns_of([OPENED]), *shipped)
    trains = models.needs_training(source.model)
    data = source.open("train" if trains else "search")
    if not trains:
        model = _opened(source, data)
        if source.architecture:
            _say_better(source, data, model, place)
        return Made(columns_of([OPENED]), *models.to_tensors(model))
    begin = partial(
        training.classifier_training,
        data,
        source.model,
        epochs=cell.epochs,
        learning_rate=source.learning_rate,
        schedule=source.schedule,
        batch_size=source.batch,
        seed=cell.seed,
        device=place.device,
    )
    run, kept = finished(begin, cell.epochs, place, cell.model)
    check_learned(run.records, len(data.classes))
    assert isinstance(run.model, models.Normalised)
    return Made(columns_of(run.records), *models.to_tensors(run.model), unfinished=kept)


def columns_of(records: list[EpochRecord]) -> dict[str, list[float]]:
    """Every epoch, for rows."""
    names = ("epoch", "loss", "n_correct", "n_images")
    return {name: [getattr(record, name) for record in records] for name in names}
