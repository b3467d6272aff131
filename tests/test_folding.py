"""Folded networks give the logits of those that they were made of."""

import pytest
import torch
from torch import Tensor, nn

from core.models import Blueprint, Normalised, architecture, folded


@pytest.mark.parametrize("name", ["small_resnet", "resnet18", "googlenet", "densenet121"])
def test_folded_batch_norms_leave_the_logits_and_the_model_alone(name):
    torch.manual_seed(3)
    backbone = architecture(name, n_classes=10, channels=3, side=32)
    blueprint = Blueprint(architecture=name, n_classes=10, channels=3, side=32)
    model = Normalised(backbone, mean=[0.4] * 3, std=[0.2] * 3, blueprint=blueprint).eval()
    for norm in norms_of(model):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pixels, fast = torch.rand(4, 3, 32, 32), folded(model)
    torch.testing.assert_close(fast(pixels), model(pixels), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    left = len(norms_of(fast))
    assert left < len(norms_of(model)) if name == "densenet121" else left == 0  # norms come first


class Awkward(nn.Module):
    """One convolution before two norms, one whose output is needed twice, one that both pass."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.twice = (nn.Conv2d(3, 3, 1) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.shared(x)) + self.norms[1](self.shared(-x))
        seen = self.twice(x)
        return self.norms[2](seen) + seen


class Looked(nn.Module):
    """A convolution whose weight is used once more, and one whose weight a hook makes."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.hooked = (nn.Conv2d(3, 3, 1) for _ in range(2))
        self.hooked.register_forward_pre_hook(fill)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.read(x)) + nn.functional.conv2d(x, self.read.weight)
        return self.norms[1](self.hooked(self.norms[2](x)))


def fill(convolution: nn.Module, _: object) -> None:
    convolution.weight.data.fill_(0.5)


class Branching(Awkward):
    """Its forward looks at values, which no trace can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x


@pytest.mark.parametrize("kind", [Awkward, Branching, Looked])
def test_norms_that_cannot_be_folded_stay(kind):
    model, pixels = kind(), torch.rand(2, 3, 8, 8)
    model(pixels)
    model.eval()
    assert torch.equal(folded(model)(pixels), model(pixels))
    assert len(norms_of(folded(model))) == 3


def norms_of(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
