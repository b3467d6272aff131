"""Classifiers. All of `core.models`, and the network that comes with the package."""

from pathlib import Path

from torch import nn

import core
from core.models import *
from core.models import load_checkpoint

_DEMO = "search/inputs/digits-small_resnet.safetensors"


def demo() -> nn.Module:
    """The demo's network: digits of 32 px, gray pixels [n, 1, 32, 32] in [0, 1] to ten logits."""
    return load_checkpoint(Path(str(core.__file__)).parents[1] / _DEMO)
