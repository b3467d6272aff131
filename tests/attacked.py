"""Networks and images for tests of the attacks."""

from functools import cache

import foolbox
import pytest
import torch
from torch import Tensor, nn

from core import attacks, training
from core.data import open_data

SETTINGS = [
    attacks.Attack.with_defaults(name, eps_255=eps_255, n_steps=n_steps)
    for name, eps_255, n_steps in (
        ("fgsm", 4.0, None),
        ("ifgsm", 4.0, None),
        ("ifgsm:momentum=1", 4.0, 3),
        ("pgd", 4.0, 4),
        ("fgsm:target=least-likely", 4.0, None),
        ("fgsm-l2", 127.5, None),
        ("ifgsm-l2", 127.5, 4),
        ("pgd-l2", 127.5, 4),
        ("tifgsm:kernel=5", 4.0, 3),
        ("difgsm", 4.0, 4),
        ("deepfool", None, None),
        ("cw:rate=0.1,searches=3", None, 30),
        ("cw:rate=0.1,searches=3,target=2", None, 30),
        ("bpda:rate=1", 127.5, 30),
        ("apgd", 4.0, 5),
        ("apgd:loss=dlr", 4.0, 5),
        ("apgd-l2:loss=margin", 127.5, 5),
        ("apgd-t:targets=2", 4.0, 3),
        ("apgd-t-l2:targets=2", 127.5, 3),
        ("fab:targets=2", 4.0, 3),
        ("fab-l2:targets=2", 127.5, 3),
        ("square:queries=20", 4.0, None),
        ("square-l2:queries=20", 127.5, None),
        ("aa:queries=9", 4.0, 2),
        ("aa-l2:queries=9", 127.5, 2),
    )
]

NORMS = pytest.mark.parametrize("norm", [attacks.LINF, attacks.L2], ids=lambda norm: norm.name)


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


@cache
def tiny_network() -> nn.Module:
    """Untrained, any colour image of 16 pixels a side; noise is spread over its five classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(),
            nn.Linear(8 * 16, 5),
        )  # fmt: skip
    model.eval().requires_grad_(False)
    model[-1].bias -= model(noise_images() / 255).mean(0)
    return model


@cache
def noise_images() -> Tensor:
    seeded = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8, generator=seeded)


@cache
def noise_labels() -> Tensor:
    """What the tiny network says for most; for the rest another class, misclassified from start."""
    labels = tiny_network()(noise_images() / 255).argmax(1)
    labels[::6] = (labels[::6] + 1) % 5
    return labels


@cache
def digits(architecture: str = "small_resnet") -> tuple[nn.Module, Tensor, Tensor]:
    """A network that reads nearly all digits, 16 images and their labels."""
    data = open_data("digits", seed=0)
    network, _ = training.fit(data, architecture, epochs=3)
    images, labels = data.batch("search", range(16))
    return network.requires_grad_(False), images / 255, labels


@cache
def reader(n_images: int = 40) -> tuple[nn.Module, Tensor, Tensor]:
    """Two layers that read nearly all digits in a millisecond; images as Images8, labels."""
    data = open_data("digits", seed=0)
    images, labels = data.batch("train", range(700))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 48), nn.ReLU(), nn.Linear(48, 10)
        )
    pooled = model[0](images / 255)
    for _ in range(200):  # by hand: torch.optim takes seconds to import what it does not need
        loss = nn.functional.cross_entropy(model[1:](pooled), labels)
        for weights, slope in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            weights.data -= 0.5 * slope
    images, labels = data.batch("search", range(n_images))
    return model.eval().requires_grad_(False), images, labels


def foolbox_of(network: nn.Module) -> foolbox.PyTorchModel:
    return foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")


def success_and_lengths(
    network: nn.Module, attacked: Tensor, pixels: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Which images are misclassified, and each one's L2 change."""
    with torch.no_grad():
        wrong = network(attacked).argmax(1) != labels
    return wrong, (attacked - pixels).flatten(1).norm(dim=1)


def run(attack, network, pixels, labels, **settings):
    own = generators(len(pixels))
    return attack(network, pixels, labels, **{"n_restarts": 1, "generators": own} | settings)


def broken(network, attacked, images, labels, *, eps_255, norm):
    """Which 8-bit images within the budget are misclassified."""
    rounded = attacks.round_within(attacked, images, eps_255=eps_255, norm=norm)
    return network(rounded / 255).argmax(1) != labels
