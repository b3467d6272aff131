"""Training, the same bytes for the same seed: a classifier, noisy and adversarial training."""

from core.training.classifier import (
    LEARNING_RATE,
    classifier_training,
    default_epochs,
    fit,
    fresh,
    one_cycle,
    schedule,
    train_classifier,
)

__all__ = [
    "LEARNING_RATE",
    "classifier_training",
    "default_epochs",
    "fit",
    "fresh",
    "one_cycle",
    "schedule",
    "train_classifier",
]
