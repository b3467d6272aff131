"""The training split in random order, augmented, as pixels on a device."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.constants import white
from core.data.base import Data
from core.shapes import Images8, Labels, Pixels

MIRRORED = ("photos", "cifar10", "cifar100", "imagefolder")  # mirrored digits are other signs
SHIFTS = {"cifar10": 4, "cifar100": 4}  # pixels; the other sets gain nothing in few epochs
N_STATISTICS = 2000  # images that a folder's mean and deviation are taken from


class Batches:
    """Each iteration is one epoch: whole batches of (pixels, labels), in another order.

    The split is held on the device as uint8, but for image folders, which are decoded as they come,
    one batch ahead in a thread. All randomness is one generator on the CPU, so every device sees
    the same batches.
    """

    def __init__(
        self,
        data: Data,
        *,
        batch_size: int,
        generator: torch.Generator,
        device: torch.device,
        shift: int = 0,
    ) -> None:
        """Prepare batches of at most the split's size; the remainder of an epoch is left out.

        Half of the images are moved by up to `shift` pixels, all of data that are always moved.
        """
        kind = data.spec.partition(":")[0]
        self.data, self.generator, self.device = data, generator, device
        self.n_images = data.size("train")
        self.batch_size = min(batch_size, self.n_images)
        self.mirrored, self.always = kind in MIRRORED, kind in SHIFTS
        self.shift = SHIFTS.get(kind, shift)
        self.held: tuple[Images8, Labels] | None = None
        if kind != "imagefolder":
            images, labels = data.batch("train", range(self.n_images))
            self.held = images.to(device), labels.to(device)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.n_images // self.batch_size

    def __iter__(self) -> Iterator[tuple[Pixels, Labels]]:
        """One epoch."""
        return self.of(self.order())

    def order(self) -> Tensor:
        """The next epoch's images, int64 [n images]."""
        return torch.randperm(self.n_images, generator=self.generator)

    def of(self, order: Tensor, *, first: int = 0) -> Iterator[tuple[Pixels, Labels]]:
        """The batches of an order, from the one numbered `first`."""
        for images, labels in self._images(order.split(self.batch_size)[first : len(self)]):
            yield self._augment(images).to(torch.float32) / white(self.device), labels

    def _images(self, parts: Sequence[Tensor]) -> Iterator[tuple[Images8, Labels]]:
        if self.held is not None:
            images, labels = self.held
            for where in (picks.to(self.device) for picks in parts):
                yield images[where], labels[where]
            return
        with ThreadPoolExecutor(1) as reader:
            reads = (reader.submit(self._read, picks) for picks in parts)
            coming = next(reads, None)
            while coming is not None:
                read, coming = coming, next(reads, None)
                images, labels = (
                    tensor.to(self.device, non_blocking=True) for tensor in read.result()
                )
                yield images, labels

    def _read(self, picks: Tensor) -> tuple[Images8, Labels]:
        images, labels = self.data.batch("train", picks.tolist())
        return (
            (images.pin_memory(), labels.pin_memory())
            if self.device.type == "cuda"
            else (images, labels)
        )

    def _augment(self, images: Images8) -> Images8:
        n = len(images)
        if self.mirrored:
            chosen = (torch.rand(n, generator=self.generator) < 0.5).to(self.device)
            images = torch.where(chosen[:, None, None, None], images.flip(3), images)
        if self.shift:
            moves = torch.randint(2 * self.shift + 1, (2, n), generator=self.generator)
            if not self.always:
                moves[:, torch.rand(n, generator=self.generator) < 0.5] = self.shift
            images = shifted(images, moves.to(self.device), by=self.shift)
        return images


def shifted(images: Images8, moves: Tensor, *, by: int) -> Images8:
    """Crops of the images' own size at `moves` (rows, columns; 0..2*by) after zero padding."""
    side = images.shape[-1]
    padded = functional.pad(images, (by, by, by, by))
    steps = torch.arange(side, device=images.device)
    rows, columns = moves[0, :, None] + steps, moves[1, :, None] + steps
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def statistics(data: Data, *, seed: int = 0) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every channel of the training split, in pixels of [0, 1].

    Of image folders, a random 2,000 images are read.
    """
    n_images = data.size("train")
    picks = np.random.default_rng([seed, n_images]).permutation(n_images)
    if data.spec.startswith("imagefolder:"):
        picks = picks[:N_STATISTICS]
    total = torch.zeros(2, data.channels, dtype=torch.float64)
    for part in np.array_split(picks, max(1, len(picks) // 100)):
        pixels = data.batch("train", part.tolist())[0].double() / 255
        total += torch.stack([pixels.mean((0, 2, 3)), pixels.square().mean((0, 2, 3))]) * len(part)
    mean, square = total / len(picks)
    return mean.tolist(), (square - mean.square()).clamp_min(0).sqrt().tolist()
