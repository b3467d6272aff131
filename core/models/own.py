"""Two small networks that train on one core in seconds to minutes."""

import math

from torch import Tensor, nn
from torch.nn import functional

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
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, x: Pixels) -> Logits:
        """Logits of normalised images."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


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
