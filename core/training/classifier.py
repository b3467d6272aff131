"""Training a classifier on a data set's training split, the same bytes for the same seed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from core.data import Data
from core.data.batches import statistics
from core.errors import InputError
from core.models import Blueprint, Normalised, architecture, input_channels, parse_spec
from core.training.epochs import BATCH_SIZE, EpochRecord, Training, check_learned, check_trainable
from core.training.schedules import USUAL, scheduled
from core.training.steps import PlainStep

EPOCHS = {
    "digits": 12,
    "photos": 8,
    "mnist": 5,
    "fashion_mnist": 5,
    "cifar10": 30,
    "cifar100": 30,
    "imagefolder": 30,
}
LEARNING_RATE = 0.1

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How an architecture is usually trained from random weights."""

    learning_rate: float = LEARNING_RATE  # the largest
    schedule: str = USUAL
    batch_size: int = BATCH_SIZE
    shift: int = 0  # half of the images are moved by up to so many pixels
    clip: float = math.inf  # the gradient's largest length
    longer: float = 1.0  # times the epochs that are usual for the data


# Without batch norm to hold them at the usual rate.
PLAIN = ("lenet", "lenet5", "mnist_cnn")
GENTLE = Usual(learning_rate=0.05, batch_size=32, shift=4, clip=1.0, longer=5 / 3)


def usual(spec: str) -> Usual:
    """What is usual for a model's architecture."""
    return GENTLE if parse_spec(spec).name in PLAIN else Usual()


def default_epochs(data_spec: str, model: str = "small_resnet") -> int:
    """How many epochs bring a network that is trained here near its best on these data.

    Raises:
        InputError: for data that `core.data.open_data` does not know.
    """
    kind = data_spec.partition(":")[0]
    if kind not in EPOCHS:
        raise InputError(
            f"expected data among {', '.join(EPOCHS)}, got {data_spec!r}.\n"
            "Hint: give the number of epochs."
        )
    return round(EPOCHS[kind] * usual(model).longer)


def fit(
    data: Data,
    spec: str,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    schedule: str | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> tuple[Normalised, list[EpochRecord]]:
    """Train the architecture that `spec` names from random weights; returned in eval mode.

    What is None is usual (`default_epochs`, `usual`); the seed fixes the first weights, the
    order and the augmentation; the model stays on the device; `progress` is given a line per epoch.

    Raises:
        InputError: a model that has weights already, or as `train_classifier`.
    """
    epochs = default_epochs(data.spec, spec) if epochs is None else epochs
    training = classifier_training(
        data,
        spec,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        seed=seed,
        device=device,
    )
    assert isinstance(training.model, Normalised)
    return training.model, _run(training, data, epochs, progress)


def classifier_training(
    data: Data,
    spec: str,
    *,
    epochs: int,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    schedule: str | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Training:
    """What `fit` runs, at its beginning. InputError as `fit`."""
    parsed, own = parse_spec(spec), usual(spec)
    if parsed.source != "train":
        raise InputError(
            f"expected a model to train, got {spec!r}, which has weights.\n"
            "Hint: small_resnet, or train:NAME, starts from random ones."
        )
    batch_size = own.batch_size if batch_size is None else batch_size
    learning_rate = own.learning_rate if learning_rate is None else learning_rate
    schedule = own.schedule if schedule is None else schedule
    _check(data, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    return Training(
        fresh(data, parsed.name, seed),
        data,
        step=PlainStep(clip=own.clip),
        rate=scheduled(schedule, learning_rate, epochs),
        batch_size=batch_size,
        shift=own.shift,
        seed=seed,
        device=device,
    )


def train_classifier(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    shift: int = 0,
    clip: float = math.inf,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> list[EpochRecord]:
    """Train in place by SGD (Nesterov momentum, weight decay, one cycle) and leave in eval mode.

    The rate rises linearly to `learning_rate` over a quarter of the steps and falls to 0 along a
    cosine. Photographs and folders are mirrored at random, CIFAR also shifted; of other data half
    of the images are moved by up to `shift` pixels. Longer gradients are shortened to `clip`. An
    epoch leaves out what does not fill a batch. On a CPU, the same seed and number of threads give
    the same bytes; torch's global generators are left as they were.

    Raises:
        InputError: no training images, numbers out of range, or a network that learned nothing.
    """
    _check(data, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    training = Training(
        model,
        data,
        step=PlainStep(clip=clip),
        rate=scheduled(USUAL, learning_rate, epochs),
        batch_size=batch_size,
        shift=shift,
        seed=seed,
        device=device,
    )
    return _run(training, data, epochs, progress)


def _run(
    training: Training, data: Data, epochs: int, progress: Progress | None
) -> list[EpochRecord]:
    for _ in range(epochs):
        record = training.epoch()
        if progress is not None:
            progress(
                f"epoch {record.epoch}/{epochs}: loss {record.loss:.3f}, {record.n_correct} of "
                f"{record.n_images} training images right, {record.wall_s:.1f} s"
            )
    training.model.eval()
    check_learned(training.records, len(data.classes))
    return training.records


def fresh(data: Data, name: str, seed: int) -> Normalised:
    """A network of random weights that the seed fixes, normalised as the training split needs."""
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


def _check(data: Data, *, epochs: int, batch_size: int, learning_rate: float) -> None:
    check_trainable(data)
    if epochs < 1 or batch_size < 2 or not learning_rate > 0:
        raise InputError(
            "expected 1 epoch or more, batches of 2 or more and a positive learning rate, got "
            f"{epochs} epochs, batches of {batch_size} and {learning_rate}.\n"
            f"Hint: for these data {default_epochs(data.spec)} epochs are usual."
        )
