"""Small networks that train on one core in seconds to minutes."""

import math

from torch import Tensor, nn
from torch.nn import functional

from core.errors import InputError
from core.shapes import Logits, Pixels


class LeNet(nn.Module):
    """Three convolutions and two linear layers, for digits of 28 or 32 pixels (other sides too).

    A ReLU after each layer but the last, pooling after the first two convolutions, and an adaptive
    4x4 average pool before the linear layers, so one set of shapes serves every side from 8. First
    weights as He et al. (2015) draw them, section 2.2: torch's own, smaller by the root of 6, leave
    it at chance for many seeds.
    """

    def __init__(self, *, n_classes: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(4),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(inplace=True), nn.Linear(128, n_classes)
        )
        draw_as_he(self)

    def forward(self, x: Pixels) -> Logits:
        """Logits of normalised images."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class LeNet5(nn.Sequential):
    """The published LeNet-5 with ReLU, max pooling and a linear output: 61,706 weights for digits.

    Images are padded to 32 pixels, and of no other side up to there: C5 reads what 32 leave.

    Source: LeCun et al. (1998), "Gradient-Based Learning Applied to Document Recognition", II.B.
    """

    def __init__(self, *, n_classes: int, channels: int, side: int) -> None:
        """InputError for a side other than 28 to 32, in even steps."""
        margin, odd = divmod(32 - side, 2)
        if odd or not 0 <= margin <= 2:
            raise InputError(
                f"expected images of 28, 30 or 32 pixels for lenet5, got {side}.\n"
                "Hint: lenet and small_resnet read other sides."
            )
        super().__init__(
            nn.Conv2d(channels, 6, 5, padding=margin),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 120, 5),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, n_classes),
        )
        draw_as_he(self)


class MnistCNN(nn.Module):
    """Two convolutions of 32, two linear layers: 799,078 weights at 28 pixels, 799,206 normalised.

    `normalise` puts batch normalisation behind both convolutions. A side is cut to a quarter by two
    poolings, what is left over falls away.
    """

    def __init__(self, *, n_classes: int, channels: int, side: int, normalise: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(n, 32, 3, padding=1) for n in (channels, 32))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(32) if normalise else nn.Identity() for _ in range(2)
        )
        self.hidden = nn.Linear(32 * (side // 4) ** 2, 500)
        self.classifier = nn.Linear(500, n_classes)
        draw_as_he(self)

    def activations(self, x: Pixels) -> list[Tensor]:
        """What the two convolutions answer, after the ReLU: [n, 32, h, w] and [n, 32, h/2, w/2]."""
        found: list[Tensor] = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            seen = functional.max_pool2d(found[-1], 2) if found else x
            found.append(functional.relu(norm(convolution(seen))))
        return found

    def forward(self, x: Pixels) -> Logits:
        """Logits of normalised images."""
        last = functional.max_pool2d(self.activations(x)[-1], 2)
        logits: Tensor = self.classifier(functional.relu(self.hidden(last.flatten(1))))
        return logits


def draw_as_he(network: nn.Module) -> None:
    """First weights of all convolutions and linear layers as He et al. (2015) draw them, 2.2."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


class SmallResNet(nn.Module):
    """A thin pre-2016 ResNet: stages of 16, 32 and 64 channels, 1, 1 and 2 blocks, 152,000 weights.

    Up to 64 pixels the first convolution keeps the side; beyond, its stride is the power of two
    that leaves at most 64, so a crop of 224 costs about three times one of 32.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", 4.2, with fewer blocks
    and projection shortcuts (option B).
    """

    def __init__(self, *, n_classes: int, channels: int, side: int) -> None:
        super().__init__()
        stride = 2 ** max(0, math.ceil(math.log2(side / 64)))
        kernel = max(3, 2 * stride - 1)
        self.stem = nn.Conv2d(channels, 16, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(
            Block(16, 16, stride=1),
            Block(16, 32, stride=2),
            Block(32, 64, stride=2),
            Block(64, 64, stride=1),
        )
        self.classifier = nn.Linear(64, n_classes)

    def forward(self, x: Pixels) -> Logits:
        """Logits of normalised images."""
        x = self.blocks(functional.relu(self.norm(self.stem(x)), inplace=True))
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
            if stride > 1 or n_in != n_out
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features of `n_out` channels, the side divided by the stride."""
        inner = functional.relu(self.first_norm(self.first(x)), inplace=True)
        inner = self.second_norm(self.second(inner))
        inner += self.shortcut(x)
        return functional.relu(inner, inplace=True)
