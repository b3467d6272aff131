"""Training a classifier on a data set's training split, the same bytes for the same seed."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from core.data import Data
from core.data.batches import Batches, statistics
from core.errors import InputError
from core.models import Blueprint, Normalised, architecture, input_channels, parse_spec

EPOCHS = {"digits": 12, "photos": 8, "mnist": 5, "cifar10": 30, "cifar100": 30, "imagefolder": 30}
BATCH_SIZE, LEARNING_RATE = 64, 0.1
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
WARM_UP = 0.25  # share of all steps in which the learning rate rises

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One pass over the training split; counts are of augmented images, while the weights move."""

    epoch: int  # from 1
    loss: float  # mean cross-entropy
    n_correct: int
    n_images: int
    wall_s: float


def default_epochs(data_spec: str) -> int:
    """How many epochs bring the small networks near their best on these data.

    Raises:
        InputError: for data that `core.data.open_data` does not know.
    """
    kind = data_spec.partition(":")[0]
    if kind not in EPOCHS:
        raise InputError(
            f"expected data among {', '.join(EPOCHS)}, got {data_spec!r}.\n"
            "Hint: give the number of epochs."
        )
    return EPOCHS[kind]


def fit(
    data: Data,
    spec: str,
    *,
    epochs: int | None = None,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> tuple[Normalised, list[EpochRecord]]:
    """Train the architecture that `spec` names from random weights; returned in eval mode.

    Epochs are `default_epochs(data.spec)` if None; the seed fixes the first weights, the order and
    the augmentation; the model stays on the device; `progress` is given a line per epoch.

    Raises:
        InputError: a model that has weights already, or as `train_classifier`.
    """
    parsed = parse_spec(spec)
    if parsed.source != "train":
        raise InputError(
            f"expected a model to train, got {spec!r}, which has weights.\n"
            "Hint: small_resnet, or train:NAME, starts from random ones."
        )
    epochs = default_epochs(data.spec) if epochs is None else epochs
    _check(data, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    model = _fresh(data, parsed.name, seed)
    records = train_classifier(
        model,
        data,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        progress=progress,
    )
    return model, records


def train_classifier(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> list[EpochRecord]:
    """Train in place by SGD (Nesterov momentum, weight decay, one cycle) and leave in eval mode.

    The rate rises linearly to `learning_rate` over a quarter of the steps and falls to 0 along a
    cosine. Photographs and folders are mirrored at random, CIFAR also shifted; digits are taken as
    they are. An epoch leaves out what does not fill a batch. On a CPU, the same seed and number of
    threads give the same bytes; torch's global generators are left as they were.

    Raises:
        InputError: no training images, numbers out of range, or a loss that is not finite.
    """
    _check(data, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    place = torch.device(device)
    model.to(place).train()
    optimiser = torch.optim.SGD(
        model.parameters(), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    order = torch.Generator().manual_seed(seed)
    batches = Batches(data, batch_size=batch_size, generator=order, device=place)
    n_steps = epochs * len(batches)
    records: list[EpochRecord] = []
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)  # for dropout
        for epoch in range(1, epochs + 1):
            done = range((epoch - 1) * len(batches), epoch * len(batches))
            rates = [learning_rate * one_cycle(step / n_steps) for step in done]
            records.append(_epoch(model, optimiser, batches, rates, epoch))
            _report(records[-1], epochs, learning_rate, progress)
    model.eval()
    return records


def one_cycle(done: float) -> float:
    """Share of the learning rate when a share `done` of the steps is done: up, then a cosine."""
    if done < WARM_UP:
        return 0.04 + 0.96 * done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def _fresh(data: Data, name: str, seed: int) -> Normalised:
    """Random weights, and the normalisation of the training split."""
    shape = {"n_classes": len(data.classes), "channels": data.channels, "side": data.side}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = architecture(name, **shape)
    n_read = input_channels(name, data.channels)
    mean, std = statistics(data, seed=seed)
    if len(mean) != n_read:  # gray, repeated
        mean, std = mean * n_read, std * n_read
    blueprint = Blueprint(architecture=name, **shape)
    return Normalised(backbone, mean=mean, std=std, blueprint=blueprint)


def _epoch(
    model: nn.Module, optimiser: torch.optim.SGD, batches: Batches, rates: list[float], epoch: int
) -> EpochRecord:
    start = time.perf_counter()
    loss_sum = torch.zeros((), dtype=torch.float64, device=batches.device)
    n_correct = torch.zeros((), dtype=torch.int64, device=batches.device)
    for rate, (pixels, labels) in zip(rates, batches, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate
        logits = model(pixels)
        loss = functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss_sum += loss.detach() * len(labels)
        n_correct += (logits.detach().argmax(1) == labels).sum()
    n_images = len(batches) * batches.batch_size
    return EpochRecord(
        epoch=epoch,
        loss=float(loss_sum) / n_images,
        n_correct=int(n_correct),
        n_images=n_images,
        wall_s=time.perf_counter() - start,
    )


def _check(data: Data, *, epochs: int, batch_size: int, learning_rate: float) -> None:
    if data.size("train") < 2:
        raise InputError(
            f"expected training images in {data.spec!r}, found {data.size('train')}.\n"
            "Hint: add train/<class>/ to the folder, or use a model that has weights."
        )
    if epochs < 1 or batch_size < 2 or not learning_rate > 0:
        raise InputError(
            "expected 1 epoch or more, batches of 2 or more and a positive learning rate, got "
            f"{epochs} epochs, batches of {batch_size} and {learning_rate}.\n"
            f"Hint: for these data {default_epochs(data.spec)} epochs are usual."
        )


def _report(record: EpochRecord, epochs: int, rate: float, progress: Progress | None) -> None:
    if not math.isfinite(record.loss):
        raise InputError(
            f"expected a finite loss, got {record.loss} in epoch {record.epoch}.\n"
            f"Hint: lower the learning rate, now {rate}."
        )
    if progress is not None:
        progress(
            f"epoch {record.epoch}/{epochs}: loss {record.loss:.3f}, {record.n_correct} of "
            f"{record.n_images} training images right, {record.wall_s:.1f} s"
        )
