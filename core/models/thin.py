"""VGG11, ResNet18 and thinner ones for images of 32 and 64 pixels, and ResNet-20 of CIFAR-10."""

from torch import Tensor, nn
from torch.nn import functional

from core.models.own import Block
from core.shapes import Logits, Pixels

VGG11 = {  # channels of each convolution; "M" halves the side
    "vgg11_small": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg11_1": (64, "M", 128, "M", 256, "M", 256, "M", 256, "M"),
    "vgg11_2": (64, "M", 128, "M", 128, "M", 128, "M", 256, "M"),
    "vgg11_3": (64, "M", 64, "M", 64, "M", 128, "M", 128, "M"),
    "vgg11_4": (32, "M", 32, "M", 32, "M", 64, "M", 128, "M"),
    "vgg11_5": (16, "M", 16, "M", 16, "M", 32, "M", 128, "M"),
}
RESNET18 = {  # channels of each block
    "resnet18_small": (64, 64, 128, 128, 256, 256, 512, 512),
    "resnet18_1": (64, 128, 256, 512),
    "resnet18_2": (64, 128, 256),
    "resnet18_3": (64, 128),
    "resnet18_4": (64,),
}


class ThinVGG(nn.Module):
    """Convolutions of 3x3 with batch norm and ReLU, the mean of what five poolings leave, a layer.

    Sides from 32. Of ten classes and three channels the weights are those of the source's table 3.2
    but for `vgg11_3`: 299,274, where 300,554 is printed, which counts a last layer of 256 inputs.

    Source: Simonyan and Zisserman (2015), configuration A, with one linear layer and batch norm.
    """

    def __init__(self, name: str, *, n_classes: int, channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for width in VGG11[name]:
            if isinstance(width, str):
                parts.append(nn.MaxPool2d(2))
                continue
            parts += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width)]
            parts.append(nn.ReLU(inplace=True))
            channels = width
        self.features = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, n_classes)

    def forward(self, x: Pixels) -> Logits:
        """Logits of normalised images."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class ThinResNet18(nn.Module):
    """Basic blocks behind a 3x3 stem of 64, stride 2 and a projection where the width changes.

    The linear layer reads means: of 4x4 places at 32 pixels, of as many parts at other sides. Of
    ten classes and three channels the weights are those of the source's table 3.3 but for
    `resnet18_3`: 326,474, where 326,374 is printed, a digit off.

    Source: He et al. (2016), "Deep Residual Learning for Image Recognition", option B, for CIFAR.
    """

    def __init__(self, name: str, *, n_classes: int, channels: int) -> None:
        super().__init__()
        widths, n_in, parts = RESNET18[name], 64, 8
        self.stem = nn.Conv2d(channels, n_in, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(n_in)
        blocks = []
        for width in widths:
            stride = 2 if width != n_in else 1
            blocks.append(Block(n_in, width, stride=stride))
            n_in, parts = width, parts // stride
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(parts), nn.Flatten())
        self.classifier = nn.Linear(n_in * parts**2, n_classes)

    def forward(self, x: Pixels) -> Logits:
        """Logits of normalised images."""
        x = self.blocks(functional.relu(self.norm(self.stem(x)), inplace=True))
        logits: Tensor = self.classifier(self.pool(x))
        return logits


class ResNet20(nn.Module):
    """The ResNet-20 of CIFAR-10, 269,722 weights: three stages of three blocks, 16 to 64 channels.

    Where a stage begins, its shortcut takes every other place and pads channels with zeros, half of
    them before and half behind, as public checkpoints have it; layers are called as there.

    Source: He et al. (2016), 4.2, option A.
    """

    def __init__(self, *, n_classes: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(_Padded(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(*(_Padded(n, 32) for n in (16, 32, 32)))
        self.layer3 = nn.Sequential(*(_Padded(n, 64) for n in (32, 64, 64)))
        self.linear = nn.Linear(64, n_classes)

    def forward(self, x: Pixels) -> Logits:
        """Logits of normalised images."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


class _Padded(nn.Module):
    """Two convolutions beside a shortcut without weights."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.stride, self.more = (1, 0) if n_in == n_out else (2, (n_out - n_in) // 2)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Features of `n_out` channels, the side halved where they are more."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.relu(inner + functional.pad(kept, (0, 0, 0, 0, self.more, self.more)))
