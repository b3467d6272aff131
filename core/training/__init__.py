"""Training, the same bytes for the same seed: a classifier, noisy and adversarial training."""

from core.training.classifier import (
    LEARNING_RATE,
    classifier_training,
    default_epochs,
    fit,
    fresh,
    train_classifier,
    usual,
)
from core.training.schedules import one_cycle

__all__ = [
    "LEARNING_RATE",
    "classifier_training",
    "default_epochs",
    "fit",
    "fresh",
    "one_cycle",
    "train_classifier",
    "usual",
]
