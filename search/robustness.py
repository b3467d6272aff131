"""Adversarially trained networks, and PGD with restarts against any defence, as cells."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from core import codec, models, seeds, training
from core.attacks import pgd
from core.defences.ensemble import Ensemble
from core.errors import InputError
from core.training.adversarial import adversarial_training
from core.training.epochs import Training
from results import schema
from search.engine.bank import Bank
from search.engine.study import Place, Study
from search.inputs.loading import Images, Inputs, ensemble_of, images_of
from search.inputs.unfinished import TrainingState
from search.stages import Source

VERSION = 2
BATCH = 64  # images attacked at a time


@dataclass(frozen=True, kw_only=True)
class AdversarialTrainingCell(Inputs):
    """A network trained from random weights on adversarial examples."""

    method: str  # "fast" or "free"
    eps_255: float
    epochs: int
    learning_rate: float
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class AdversarialTrainingRow:
    """One epoch; the piece holds the network after the last."""

    epoch: int
    loss: float
    n_correct: int  # of perturbed training images, while the weights move
    n_images: int
    epoch_wall_s: float
    piece: str
    piece_bytes: int


@dataclass(frozen=True, kw_only=True)
class RestartsCell(Inputs):
    """PGD on some images of a piece against a defence.

    The attacker differentiates `attacked`: the defence itself, its codec by rounding forward and
    the identity backward ("white"), or a bare network ("gray").
    """

    defence: str
    threat: str  # "white" or "gray"
    networks: tuple[str, ...]  # pieces of the defence's networks
    tables: tuple[str, ...]  # theirs, "" for none
    attacked: str  # piece of the network that is attacked in the gray box, else empty
    eps_255: float
    step_255: float
    n_steps: int
    n_restarts: int
    images: str  # the piece
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class RestartsRow:
    """One image. Restarts end with the first that the defence gets wrong."""

    image: int
    label: int
    predicted: int  # by the defence, of the image as it is
    broken_by: int | None  # restart, from 1; none where it was wrong before, or never broke


def adversarial_training_study(source: Source) -> Study:
    """Training by Fast or Free on the training split of a source."""
    return Study(
        "adversarial_training", VERSION, AdversarialTrainingCell, AdversarialTrainingRow,
        _load_training, partial(_train, source),
    )  # fmt: skip


def _load_training(
    cell: AdversarialTrainingCell, bank: Bank, place: Place
) -> tuple[TrainingState, Place]:
    cell_id = schema.cell_id("adversarial_training", VERSION, cell)
    return TrainingState(bank, cell_id, place.say), place


def _train(
    source: Source, cell: AdversarialTrainingCell, inputs: tuple[TrainingState, Place]
) -> schema.Columns:
    kept, place = inputs
    run = _begin(source, cell, place)
    found = kept.read()
    if found is not None:
        try:
            run.restore(found[0])
        except InputError as cause:
            kept.set_aside(str(cause).splitlines()[0])
            run = _begin(source, cell, place)
    while len(run.records) < cell.epochs:
        record = run.epoch()
        kept.write(run.state(), {})
        place.say(
            f"{cell.method} eps {cell.eps_255:g}: epoch {record.epoch}/{cell.epochs}: loss "
            f"{record.loss:.3f}, {record.n_correct} of {record.n_images} right, "
            f"{record.wall_s:.1f} s"
        )
    assert isinstance(run.model, models.Normalised)
    piece, n_bytes = kept.bank.put(*models.to_tensors(run.model))
    kept.remove()
    names = ("epoch", "loss", "n_correct", "n_images")
    columns = {name: [getattr(record, name) for record in run.records] for name in names}
    return columns | {
        "epoch_wall_s": [record.wall_s for record in run.records],
        "piece": [piece] * cell.epochs,
        "piece_bytes": [n_bytes] * cell.epochs,
    }


def _begin(source: Source, cell: AdversarialTrainingCell, place: Place) -> Training:
    parsed, data = models.parse_spec(source.model), source.open()
    if parsed.source != "train":
        raise InputError(
            f"expected a model that is trained here, got {source.model!r}.\n"
            "Hint: adversarial training starts from random weights: --model small_resnet."
        )
    return adversarial_training(
        training.fresh(data, parsed.name, cell.seed),
        data,
        method=cell.method,
        eps_255=cell.eps_255,
        epochs=cell.epochs,
        learning_rate=cell.learning_rate,
        batch_size=cell.batch_size,
        seed=cell.seed,
        device=place.device,
    )


def _load_restarts(
    cell: RestartsCell, bank: Bank, place: Place
) -> tuple[Images, Ensemble, Ensemble, str]:
    networks = (cell.networks, cell.tables) if not cell.attacked else ((cell.attacked,), ("",))
    attacked = ensemble_of(bank, *networks, place.device, "fp32")
    defence = ensemble_of(bank, cell.networks, cell.tables, place.device, cell.precision)
    images = images_of(bank, cell.images).part(cell.first, cell.count, place.device)
    return images, defence, attacked, place.device


def _restarts(cell: RestartsCell, inputs: tuple[Images, Ensemble, Ensemble, str]) -> schema.Columns:
    images, defence, attacked, device = inputs

    def taken_for(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([defence(part).argmax(1).cpu() for part in pixels.split(BATCH)])

    def attack(pixels: Tensor, labels: Tensor, ids: list[int], restart: int) -> Tensor:
        return pgd(
            partial(attacked.log_mean, rounding=codec.round_through),
            pixels,
            labels,
            eps_255=cell.eps_255,
            step_255=cell.step_255,
            n_steps=cell.n_steps,
            n_restarts=1,
            generators=[seeds.generator(cell.seed, image, restart) for image in ids],
        )

    pixels = codec.to_pixels(images.images)
    predicted = taken_for(pixels)
    broken_by = first_break(
        lambda chosen, restart: (
            taken_for(
                attack(
                    pixels[chosen.to(device)],
                    images.labels[chosen].to(device),
                    images.ids[chosen].tolist(),
                    restart,
                )
            )
            != images.labels[chosen]
        ),
        alive=predicted == images.labels,
        n_restarts=cell.n_restarts,
    )
    return {
        "image": images.ids.numpy(),
        "label": images.labels.numpy(),
        "predicted": predicted.numpy(),
        "broken_by": broken_by,
    }


def first_break(
    breaks: Callable[[Tensor, int], Tensor], *, alive: Tensor, n_restarts: int
) -> list[int | None]:
    """The first restart, from 1, that breaks each image; None for those not alive or not broken.

    `breaks` is asked of some positions and a restart: which of them are then wrong.
    """
    first: list[int | None] = [None] * len(alive)
    left = alive.nonzero().flatten()
    for restart in range(1, n_restarts + 1):
        parts = [breaks(part, restart) for part in left.split(BATCH) if len(part)]
        if not parts:
            break
        broken = torch.cat(parts)
        for position in left[broken].tolist():
            first[position] = restart
        left = left[~broken]
    return first


RESTARTS = Study("pgd_restarts", 2, RestartsCell, RestartsRow, _load_restarts, _restarts)
