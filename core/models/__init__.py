"""Classifiers: opened by name, wrapped with their normalisation, turned into tensors and back."""

from core.known import OWN
from core.models.architectures import architecture, check_name, input_channels
from core.models.checkpoints import load_checkpoint, read_tensors, save_checkpoint
from core.models.convert import Converted, convert
from core.models.folding import folded
from core.models.normalised import Blueprint, Normalised
from core.models.own import LeNet, SmallResNet
from core.models.pretrained import check_fits, open_pretrained
from core.models.spec import ModelSpec, needs_training, parse_spec
from core.models.statistics import IMAGENET, Statistics, parse_statistics, published
from core.models.weights import from_tensors, to_tensors

__all__ = [
    "IMAGENET",
    "OWN",
    "Blueprint",
    "Converted",
    "LeNet",
    "ModelSpec",
    "Normalised",
    "SmallResNet",
    "Statistics",
    "architecture",
    "check_fits",
    "check_name",
    "convert",
    "folded",
    "from_tensors",
    "input_channels",
    "load_checkpoint",
    "needs_training",
    "open_pretrained",
    "parse_spec",
    "parse_statistics",
    "published",
    "read_tensors",
    "save_checkpoint",
    "to_tensors",
]
