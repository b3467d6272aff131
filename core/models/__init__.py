"""Classifiers: opened by name, wrapped with their normalisation, turned into tensors and back."""

from core.models.architectures import architecture, check_name, input_channels
from core.models.checkpoints import load_checkpoint, read_tensors, save_checkpoint
from core.models.folding import folded
from core.models.normalised import Blueprint, Normalised
from core.models.own import LeNet, SmallResNet
from core.models.pretrained import open_pretrained
from core.models.spec import ModelSpec, needs_training, parse_spec
from core.models.weights import from_tensors, to_tensors

__all__ = [
    "Blueprint",
    "LeNet",
    "ModelSpec",
    "Normalised",
    "SmallResNet",
    "architecture",
    "check_name",
    "folded",
    "from_tensors",
    "input_channels",
    "load_checkpoint",
    "needs_training",
    "open_pretrained",
    "parse_spec",
    "read_tensors",
    "save_checkpoint",
    "to_tensors",
]
