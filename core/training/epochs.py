"""The loop that every kind of training shares: epochs, to be stopped and taken up again."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from core.data import Data
from core.data.batches import Batches
from core.errors import InputError
from core.models.weights import load_weights
from core.training.steps import State, Step

BATCH_SIZE = 64
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
KEEP_S = 120.0  # what a machine lost within an epoch costs at most, in work
TRY = (
    "Hint: try another --seed, more --epochs, a lower --learning-rate or --model small_resnet; for "
    "a chain a lower --chain-learning-rate."
)

Rate = Callable[[int, int], float]  # of a step, counted from 0, and of the steps in an epoch


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One pass over the training split; counts are of augmented images, while the weights move."""

    epoch: int  # from 1
    loss: float  # mean of what was minimised
    n_correct: int
    n_images: int
    wall_s: float


def check_trainable(data: Data) -> None:
    """Raise an `InputError` if there is nothing to train on."""
    if data.size("train") < 2:
        raise InputError(
            f"expected training images in {data.spec!r}, found {data.size('train')}.\n"
            "Hint: add train/<class>/ to the folder, or take a study that trains nothing, with a "
            "model that has weights."
        )


def nothing_learned(records: Sequence[EpochRecord], n_classes: int) -> str:
    """What shows that a network learned nothing from its training, in words; empty where it did.

    Its last epoch gets no more images right than guessing does (three standard errors above
    1 / classes), or its loss is above the first epoch's. Of fewer than 100 images nobody can tell.
    """
    first, last = records[0], records[-1]
    n, chance = last.n_images, 1 / n_classes
    if n < 100:
        return ""
    if last.n_correct <= n * chance + 3 * math.sqrt(n * chance * (1 - chance)):
        return f"{last.n_correct} of {n} training images right, as by guessing {n_classes} classes"
    if last.loss > first.loss:
        return f"a loss of {last.loss:.3f} after one of {first.loss:.3f} in the first epoch"
    return ""


def check_learned(records: Sequence[EpochRecord], n_classes: int) -> None:
    """Raise an `InputError` for a network that learned nothing."""
    if found := nothing_learned(records, n_classes):
        raise InputError(
            f"the network learned nothing: after epoch {records[-1].epoch} {found}.\n{TRY}"
        )


def sgd(weights: Iterable[nn.Parameter]) -> Optimizer:
    """SGD with Nesterov momentum and weight decay."""
    return torch.optim.SGD(weights, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)


@dataclass
class _Within:
    """An epoch that is under way."""

    begun: Tensor  # the order's generator before it
    n_steps: int
    loss_sum: Tensor
    n_correct: Tensor
    wall_s: float


class Training:
    """A network in training, in place.

    `state` and `restore` carry all that decides the next step: weights, momenta, the step's own
    state, all generators. Training that goes on from a state gives the same bytes as training that
    never stopped: on a CPU with the same number of threads. On a GPU this holds as far as its
    kernels are deterministic (`torch.use_deterministic_algorithms`). Order, augmentation, noise and
    starts are drawn on the CPU, the same for every device; dropout is drawn on the device, and one
    model of GPU draws otherwise than another. torch's global generators are left as they were.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        *,
        step: Step,
        rate: Rate,
        batch_size: int = BATCH_SIZE,
        shift: int = 0,
        seed: int = 0,
        device: str | torch.device = "cpu",
        optimiser: Callable[[Iterable[nn.Parameter]], Optimizer] = sgd,
    ) -> None:
        """The seed fixes the order of the images, their augmentation, and dropout.

        `rate` decides the optimiser's learning rate in each step.

        Raises:
            InputError: no images to train on.
        """
        check_trainable(data)
        self.device = torch.device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # the faster one
        self.step, self.rate = step, rate
        self.records: list[EpochRecord] = []
        self._order = torch.Generator().manual_seed(seed)
        self._batches = Batches(
            data, batch_size=batch_size, shift=shift, generator=self._order, device=self.device
        )
        self._within: _Within | None = None
        self._optimiser = optimiser(model.parameters())
        self._cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=self._cuda):
            torch.manual_seed(seed)  # for dropout
            self._global = self._global_state()

    def epoch(self, keep: Callable[[], None] | None = None) -> EpochRecord:
        """One more pass over the training split, or the rest of one that a state was within.

        What does not fill a batch is left out. `keep` is called in a long one, every `KEEP_S`
        seconds, with `state` up to date.

        Raises:
            InputError: a loss that is not finite.
        """
        self.model.train()
        with torch.random.fork_rng(devices=self._cuda):
            self._set_global(self._global)
            record = self._pass(len(self.records) + 1, keep)
            self._global = self._global_state()
        if not math.isfinite(record.loss):
            raise InputError(
                f"expected a finite loss, got {record.loss} in epoch {record.epoch}.\n{TRY}"
            )
        self.records.append(record)
        return record

    def _pass(self, epoch: int, keep: Callable[[], None] | None) -> EpochRecord:
        now, order = self._begin()
        n_batches = len(self._batches)
        first = (epoch - 1) * n_batches
        kept_at = time.perf_counter()
        started = kept_at - now.wall_s
        for pixels, labels in self._batches.of(order, first=now.n_steps):
            for group in self._optimiser.param_groups:
                group["lr"] = self.rate(first + now.n_steps, n_batches)
            loss, outputs = self.step(self.model, self._optimiser, pixels, labels)
            now.loss_sum += loss * len(labels)
            now.n_correct += self.step.n_right(outputs, labels)
            now.n_steps += 1
            if keep is not None and time.perf_counter() - kept_at > KEEP_S:
                now.wall_s = time.perf_counter() - started
                self._global = self._global_state()
                keep()
                kept_at = time.perf_counter()
        self._within = None
        n_images = n_batches * self._batches.batch_size
        return EpochRecord(
            epoch=epoch,
            loss=float(now.loss_sum) / n_images,
            n_correct=int(now.n_correct),
            n_images=n_images,
            wall_s=time.perf_counter() - started,
        )

    def _begin(self) -> tuple[_Within, Tensor]:
        """The epoch that is under way, else a new one, and the order of its images."""
        if self._within is None:
            self._within = _Within(
                begun=self._order.get_state(),
                n_steps=0,
                loss_sum=torch.zeros((), dtype=torch.float64, device=self.device),
                n_correct=torch.zeros((), dtype=torch.int64, device=self.device),
                wall_s=0.0,
            )
            return self._within, self._batches.order()
        drawn_since = self._order.get_state()
        self._order.set_state(self._within.begun)
        order = self._batches.order()
        self._order.set_state(drawn_since)
        return self._within, order

    def state(self) -> State:
        """Copies on the CPU, after the last epoch, or in one where `keep` is called."""
        optimiser = {
            f"{i}.{name}": tensor
            for i, weight in enumerate(self.model.parameters())
            for name, tensor in self._optimiser.state.get(weight, {}).items()
        }
        generators = {str(i): state for i, state in enumerate(self._global)}
        parts = {
            "model": self.model.state_dict(),
            "optimiser": optimiser,
            "step": self.step.state(),
            "global": generators,
            "order": {"state": self._order.get_state()},
            "records": {
                "all": torch.tensor([astuple(r) for r in self.records], dtype=torch.float64)
            },
        }
        if (now := self._within) is not None:
            parts["within"] = {
                "begun": now.begun,
                "n_steps": torch.tensor(now.n_steps),
                "loss_sum": now.loss_sum,
                "n_correct": now.n_correct,
                "wall_s": torch.tensor(now.wall_s, dtype=torch.float64),
            }
        return {
            f"{part}.{name}": tensor.detach().cpu().clone().contiguous()
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of the same kind of training.

        Raises:
            InputError: a state of another network or training; this one is then unusable.
        """
        try:
            self._restore(state)
        except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as cause:
            raise InputError(
                f"expected the state of this training, found one that does not fit: {cause}\n"
                "Hint: it belongs to other settings or was changed; train from the beginning."
            ) from cause

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        parts: dict[str, State] = {}
        for whole, tensor in state.items():
            part, _, name = whole.partition(".")
            parts.setdefault(part, {})[name] = tensor
        load_weights(self.model, parts["model"])
        weights = list(self.model.parameters())
        for key, tensor in parts["optimiser"].items():
            number, _, name = key.partition(".")
            weight = weights[int(number)]
            # A count of steps stays what it is; momenta lie in memory as their weights do.
            held = (
                torch.empty_like(weight).copy_(tensor.reshape(weight.shape))
                if tensor.ndim
                else tensor
            )
            self._optimiser.state[weight][name] = held
        self.step.restore(parts.get("step", {}))
        self._global = [parts["global"][str(i)] for i in range(len(self._global))]
        with torch.random.fork_rng(devices=self._cuda):
            self._set_global(self._global)  # refuses what is no generator's state
        self._order.set_state(parts["order"]["state"])
        self._within = None
        if now := parts.get("within"):
            self._within = _Within(
                begun=now["begun"],
                n_steps=int(now["n_steps"]),
                loss_sum=now["loss_sum"].to(self.device),
                n_correct=now["n_correct"].to(self.device),
                wall_s=float(now["wall_s"]),
            )
        self.records = [
            EpochRecord(
                epoch=int(epoch), loss=loss, n_correct=int(right), n_images=int(n), wall_s=wall_s
            )
            for epoch, loss, right, n, wall_s in parts["records"]["all"].tolist()
        ]

    def _global_state(self) -> list[Tensor]:
        """Of torch's global generators: the CPU's, and the device's if it is a GPU."""
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self._cuda)]

    def _set_global(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self._cuda, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)
