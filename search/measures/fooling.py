"""Images made for a class by gradient ascent from noise, alone or near an image, as cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core import codec, seeds
from core.ascent import ascend
from core.models import Normalised
from search.engine.study import Made, Place, Study
from search.inputs import loading
from search.inputs.pictures import Pictures

NO_SOURCE = -1


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """One image for each class and start; or, where there are images, for each pair of classes."""

    network: str  # as the study calls it
    weights: str
    judge: str  # another network, which did not take part
    images: tuple[str, ...]  # pieces, of one image of each class; of none, they are held near none
    places: tuple[int, ...]  # in them
    beta: float  # weight of the mean squared distance from the image
    n_starts: int  # from noise, for each
    n_steps: int  # of the ascent
    step: float  # size of one, along the gradient


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image, rounded to 8 bits; it is the row's in the piece, as are its `logits` by step."""

    source: int  # class of the image that it is held near; -1: none
    target: int  # class
    start: int  # from 0
    predicted: int  # class
    judged: int  # by the other network
    p: float  # of the target
    first_logit: float  # of the target, at the noise
    logit: float  # of the target, at the end
    n_rising: int  # steps, of n_steps - 1, after which the logit was higher
    sse: float  # squared distance from the source, pixels in [0, 1]; 0 where there is none
    n_values: int  # of an image
    piece: str
    piece_bytes: int


Loaded = tuple[Tensor | None, Tensor, nn.Module, nn.Module, str]  # images and labels of sources


def _load(cell: Cell, place: Place) -> Loaded:
    network, judge = (
        loading.classifier_of(place.bank, piece, place.device, "fp32")
        for piece in (cell.weights, cell.judge)
    )
    pairs = zip(cell.images, cell.places, strict=True)
    parts = [loading.images_of(place.bank, piece).part(i, 1, "cpu") for piece, i in pairs]
    labels = torch.cat([torch.zeros(0, dtype=torch.int64), *(part.labels for part in parts)])
    images = torch.cat([part.images for part in parts]) if parts else None
    return images, labels, network, judge, place.device


def _evaluate(cell: Cell, loaded: Loaded) -> Made:
    images, labels, network, judge, device = loaded
    assert isinstance(network, Normalised)
    shape = (1, network.blueprint.channels, cell.side, cell.side)
    noise = [
        torch.rand(shape, generator=seeds.generator(cell.seed, "fooling", start))
        for start in range(cell.n_starts)
    ]
    with torch.no_grad():
        n_classes = network(noise[0].to(device)).shape[1]
    near = None
    if images is None:
        grid = torch.cartesian_prod(torch.arange(cell.n_starts), torch.arange(n_classes))
        start, target = grid.T
        source = torch.full_like(target, NO_SOURCE)
    else:
        rows, target = (labels[:, None] != torch.arange(n_classes)).nonzero().T
        start, source = torch.zeros_like(target), labels[rows]
        near = codec.to_pixels(images)[rows].to(device)
    begin, classes = torch.cat(noise)[start].to(device), target.to(device)
    made = ascend(
        network, begin, classes, step=cell.step, n_steps=cell.n_steps, image=near, beta=cell.beta
    )
    levels = (255 * made.pixels).round().to(torch.uint8)
    pixels, pick = codec.to_pixels(levels), classes[:, None]
    with torch.no_grad():
        logits, judged = network(pixels), judge(pixels).argmax(1)
    far = torch.zeros_like(pixels) if near is None else pixels - near
    columns = {
        "source": source,
        "target": target,
        "start": start,
        "predicted": logits.argmax(1),
        "judged": judged,
        "p": logits.softmax(1).gather(1, pick)[:, 0].double(),
        "first_logit": made.logits[0].double(),
        "logit": logits.gather(1, pick)[:, 0].double(),
        "n_rising": (made.logits.diff(dim=0) > 0).sum(0),
        "sse": far.double().square().flatten(1).sum(1),
        "n_values": torch.full_like(target, pixels[0].numel()),
    }
    numbers = {name: column.cpu().numpy() for name, column in columns.items()}
    return Made(numbers, {"images": levels.cpu(), "logits": made.logits.T.contiguous().cpu()})


STUDY = Study("fooling_images", 1, Cell, Row, _load, _evaluate)


def cells(
    inputs: loading.Inputs,
    networks: Mapping[str, str],
    judge: str,
    benign: Pictures,
    *,
    betas: Sequence[float],
    n_starts: int,
    n_steps: int,
    step: float,
) -> Iterator[Cell]:
    """Each network's images for each class, and for each pair of classes at every beta."""
    firsts = benign.firsts()
    pieces, places = (
        tuple(part) for part in zip(*((p.name, i) for _, p, i in firsts), strict=True)
    )
    for network, weights in networks.items():
        for beta in (None, *betas):
            yield Cell(
                **inputs.fields(),
                network=network,
                weights=weights,
                judge=judge,
                images=() if beta is None else pieces,
                places=() if beta is None else places,
                beta=float(beta or 0),
                n_starts=n_starts if beta is None else 1,
                n_steps=n_steps,
                step=step,
            )
