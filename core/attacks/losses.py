"""What an attacker raises: one number for each image from its logits and its label.

A label is right where every loss is low. No image's loss depends on another's.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from core.errors import InputError
from core.shapes import Labels, Logits, PerImage

Loss = Callable[[Logits, Labels], PerImage]
_TINY = 1e-12  # as in the authors' code: keeps equal logits' losses finite


def cross_entropy(logits: Logits, labels: Labels) -> PerImage:
    """In nats; its gradient vanishes where the label's probability rounds to 1."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Logits, labels: Labels) -> PerImage:
    """Likeliest wrong class over the label: positive where the image is misclassified.

    Source: Carlini and Wagner (2017), section V-B, f_6 without its hinge.
    """
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - _of(logits, labels)


def targeted_margin(logits: Logits, labels: Labels, *, targets: Labels) -> PerImage:
    """One wrong class over the label."""
    return _of(logits, targets) - _of(logits, labels)


def dlr(logits: Logits, labels: Labels) -> PerImage:
    """Difference of logits ratio: the margin in units of the largest logit over the third.

    Shifting and scaling the logits changes nothing, so a network cannot hide its gradient so.

    Source: Croce and Hein (2020), section 5, equation 6.

    Raises:
        InputError: fewer than three classes.
    """
    _check_classes(logits, 3, "the DLR loss", "margin needs two: apgd:loss=margin")
    largest = logits.topk(3, dim=1).values
    return margin(logits, labels) / (largest[:, 0] - largest[:, 2] + _TINY)


def targeted_dlr(logits: Logits, labels: Labels, *, targets: Labels) -> PerImage:
    """One wrong class over the label, in units of the largest logit over the third and fourth.

    Source: Croce and Hein (2020), section 5, equation 7.

    Raises:
        InputError: fewer than four classes.
    """
    _check_classes(logits, 4, "the targeted DLR loss", "apgd:loss=dlr needs three, fab two")
    largest = logits.topk(4, dim=1).values
    unit = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return targeted_margin(logits, labels, targets=targets) / (unit + _TINY)


def wrong_classes(logits: Logits, labels: Labels, n_classes: int) -> Tensor:
    """Each image's likeliest wrong classes in order, `n_classes` or all there are: [n, k]."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    order = others.argsort(dim=1, descending=True, stable=True)
    return order[:, : min(n_classes, logits.shape[1] - 1)]


def _of(logits: Logits, classes: Labels) -> PerImage:
    return logits.gather(1, classes[:, None])[:, 0]


def _check_classes(logits: Logits, least: int, name: str, instead: str) -> None:
    if logits.shape[1] < least:
        raise InputError(
            f"{name} needs at least {least} classes, got a network with {logits.shape[1]}.\n"
            f"Hint: {instead}."
        )
