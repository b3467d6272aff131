"""Images as cells of the bank: as they are, attacked through a victim, and in another order."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from core import attacks, codec
from core.data.base import as_split
from core.defences import Defence, Defended, defence_by_name
from core.defences.ensemble import Guarded
from core.errors import InputError
from core.parts import at_a_time, in_parts
from search.engine.study import Made, Place, Study
from search.inputs.loading import Images, Inputs, Victim, classifier_of, images_of, victim_of
from search.inputs.networks import Source


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
class OrderedCell(Inputs):
    """Images of the bank, to stand in order of their margins behind a defence."""

    weights: str
    split: str
    subject: str  # "benign" or "adversarial"
    images: str  # their piece
    count: int  # images, all of the piece's
    codec: str  # before the network, when margins are measured


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One image, without any codec; where it is put in order, its margin is behind one."""

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


def benign_study(source: Source) -> Study[BenignCell, tuple[nn.Module, str]]:
    """Images of a source as they are."""
    how = partial(_benign, source)
    return Study("benign", 2, BenignCell, ImageRow, _load_benign, how, n_rows=_count)


def _load_benign(cell: BenignCell, place: Place) -> tuple[nn.Module, str]:
    return classifier_of(place.bank, cell.weights, place.device, cell.precision), place.device


def _benign(source: Source, cell: BenignCell, loaded: tuple[nn.Module, str]) -> Made:
    ids = range(cell.first, cell.first + cell.count)
    images, labels = source.open(as_split(cell.split)).batch(cell.split, ids)
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
        batch_size=min(128, 2 * at_a_time(images, device)),
    ).cpu()
    if cell.eight_bit:
        attacked = attacks.round_within(attacked, images, eps_255=cell.eps_255, norm=attack.norm)
    return _with_margins(classifier, device, attacked, labels, ids)


def _load_ordered(cell: OrderedCell, place: Place) -> tuple[Images, Defence, nn.Module, str]:
    defence = defence_by_name(cell.codec).to(place.device)
    classifier = classifier_of(place.bank, cell.weights, place.device, cell.precision)
    return images_of(place.bank, cell.images), defence, classifier, place.device


def _ordered(_: OrderedCell, loaded: tuple[Images, Defence, nn.Module, str]) -> Made:
    images, defence, classifier, device = loaded
    behind = Defended(defence, classifier)
    shown = (images.images, images.labels, images.ids)
    return _with_margins(behind, device, *shown, undefended=images.undefended)


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
    classifier: nn.Module,
    device: str,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    *,
    undefended: Tensor | None = None,
) -> Made:
    """Images in order of margin; `undefended` where the classifier is not the network alone."""

    def logits_of(part: slice) -> Tensor:
        seen: Tensor = classifier(codec.to_pixels(images[part].to(device)))
        return seen.float()

    logits = torch.cat(in_parts(logits_of, len(images), 256)).cpu()
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
        "undefended": (logits.argmax(1) if undefended is None else undefended)[order],
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
        attacks.through(attack, victim),
        block.images,
        block.labels.to(device),
        image_ids=block.ids.tolist(),
        seed=cell.seed,
        batch_size=at_a_time(block.images, device),
        n_samples=max(cell.n_samples, attack.through == "dithered"),
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


def _count(cell: BenignCell | AdversarialCell | ExamplesCell | OrderedCell) -> int:
    """A row per image."""
    return cell.count


ADVERSARIAL = Study(
    "adversarial", 3, AdversarialCell, ImageRow, _load_adversarial, _adversarial, n_rows=_count
)
EXAMPLES = Study("examples", 3, ExamplesCell, ExamplesRow, _load_examples, _examples, n_rows=_count)
ORDERED = Study("ordered", 1, OrderedCell, ImageRow, _load_ordered, _ordered, n_rows=_count)
