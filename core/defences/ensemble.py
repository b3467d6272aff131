"""Several networks behind several qualities of the codec, asked together.

from core.defences import Ensemble
ensemble = Ensemble.load("ensemble.safetensors")
classes = ensemble(images).argmax(1)  # uint8, or floating point in [0, 1]: [n, c, h, w]
"""

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from core import codec
from core.codec import Rounding, qtable, round_through
from core.defences.base import Defence, Generators
from core.defences.images import check_images
from core.errors import InputError
from core.models import Normalised, from_tensors, read_tensors, to_tensors
from core.models.checkpoints import check_digest, write_tensors
from core.shapes import Images, Logits, Pixels, Probabilities, QTable

RULES = ("mean", "vote")
FORMAT = "qtable-sweeps ensemble 1"


@dataclass(frozen=True)
class Member:
    """A network and the table that its images pass, None for images as they are."""

    name: str
    network: nn.Module  # pixels to logits; `Ensemble.save` takes a `Normalised` only
    table: QTable | None


class Ensemble(nn.Module):
    """Members that each see the image at their own quality, and a rule that makes one answer.

    - "mean": the mean of the members' softmax outputs.
    - "vote": every member has one vote; where classes have as many, the mean softmax decides.

    Always in the members' own mode, which is eval mode for loaded ones.

    Source: "defensive quantization table" paper, 3.4: {M, M90, M70, M50, M30}.
    """

    def __init__(self, members: Sequence[Member], *, rule: str = "mean") -> None:
        """InputError for no members or an unknown rule."""
        super().__init__()
        if not members or rule not in RULES:
            raise InputError(
                f"expected members and a rule among {', '.join(RULES)}, got {len(members)} members "
                f"and {rule!r}.\nHint: the paper's own is vote."
            )
        self.rule = rule
        self.names = tuple(member.name for member in members)
        self.networks = nn.ModuleList(member.network for member in members)
        for i, member in enumerate(members):
            table = None if member.table is None else qtable.check(member.table)
            self.register_buffer(f"table{i}", table)

    @property
    def tables(self) -> list[QTable | None]:
        """Each member's table."""
        return [getattr(self, f"table{i}") for i in range(len(self.networks))]

    def logits(self, images: Images, *, rounding: Rounding = round_through) -> list[Logits]:
        """Each member's logits; differentiable where the codec's `rounding` is."""
        pixels = codec.to_pixels(images)
        return [
            network(seen_by(pixels, table, rounding=rounding))
            for network, table in zip(self.networks, self.tables, strict=True)
        ]

    def forward(self, images: Images, *, rounding: Rounding = round_through) -> Probabilities:
        """One distribution an image, whose largest entry is the answer.

        With "mean" it is differentiable as `rounding` says; with torch.round only members without a
        table pass a gradient on. InputError for images of another type, range or shape.
        """
        images = check_images(images)
        said = self.logits(images, rounding=rounding)
        return combined(torch.stack([logits.softmax(1) for logits in said]), self.rule)

    def log_mean(self, pixels: Pixels, *, rounding: Rounding = round_through) -> Logits:
        """Logarithm of the mean softmax, free of underflow: logits for an attacker's loss."""
        said = self.logits(pixels, rounding=rounding)
        logs = torch.stack([logits.log_softmax(1) for logits in said])
        return torch.logsumexp(logs, dim=0) - math.log(len(logs))

    def save(self, path: str | Path) -> None:
        """Write all members, their tables and the rule to one safetensors file."""
        tensors: dict[str, Tensor] = {}
        blueprints = []
        for i, (network, table) in enumerate(zip(self.networks, self.tables, strict=True)):
            assert isinstance(network, Normalised)
            weights, blueprint = to_tensors(network)
            tensors |= {f"{i}.{name}": tensor for name, tensor in weights.items()}
            tensors |= {} if table is None else {f"{i}/table": table.cpu()}
            blueprints.append(blueprint)
        text = json.dumps({"rule": self.rule, "names": self.names, "networks": blueprints})
        write_tensors(path, tensors, {"format": FORMAT, "ensemble": text})

    @classmethod
    def load(cls, path: str | Path) -> "Ensemble":
        """The ensemble that `save` wrote, in eval mode on the CPU.

        InputError where there is no such file, one of another kind, or one that was damaged. A file
        of an earlier version has no digest: a warning says that damage would not be seen.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"{path}: expected metadata of format {FORMAT!r}, found "
                f"{metadata.get('format')!r}.\nHint: Ensemble.save writes such files."
            )
        try:
            digested = check_digest(tensors, metadata)
            loaded = cls._from(tensors, _described(metadata.get("ensemble", "")))
        except (InputError, RuntimeError) as cause:  # torch's, of sizes that no network has
            raise InputError(f"{path}: the ensemble is damaged: {cause}") from cause
        if not digested:
            warnings.warn(
                f"{path} has no digest, as earlier versions wrote it: damage to its weights is not "
                "seen. Ensemble.load(path).save(path) adds one.",
                stacklevel=2,
            )
        return loaded

    @classmethod
    def _from(cls, tensors: dict[str, Tensor], described: "_Described") -> "Ensemble":
        members, left = [], set(tensors)
        for i, (name, blueprint) in enumerate(
            zip(described.names, described.networks, strict=True)
        ):
            own = {k.removeprefix(f"{i}."): t for k, t in tensors.items() if k.startswith(f"{i}.")}
            members.append(Member(name, from_tensors(own, blueprint), tensors.get(f"{i}/table")))
            left -= {f"{i}.{k}" for k in own} | {f"{i}/table"}
        if left:
            raise InputError(f"expected tensors of its members alone, found {sorted(left)[:3]} too")
        ensemble = cls(members, rule=described.rule).eval()
        _try(ensemble, described.networks)
        return ensemble


@dataclass(frozen=True)
class _Described:
    """What a file's text says of its ensemble."""

    rule: str
    names: list[str]
    networks: list[dict[str, str]]  # blueprints


def _described(text: str) -> _Described:
    """InputError for a text of another kind."""
    try:
        described = _Described(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as cause:
        raise InputError(f"expected a rule, names and networks: {cause}") from cause
    names, networks = described.names, described.networks
    lists = isinstance(names, list) and isinstance(networks, list) and len(names) == len(networks)
    if not lists or not all(isinstance(name, str) for name in (described.rule, *names)):
        raise InputError("expected as many names as networks, and a rule, all of them texts")
    if not all(
        isinstance(n, dict) and all(isinstance(v, str) for v in n.values()) for n in networks
    ):
        raise InputError("expected every network as names and texts")
    return described


@torch.no_grad()
def _try(ensemble: Ensemble, networks: Sequence[dict[str, str]]) -> None:
    """InputError where members take different images, or weights, though finite, give NaN."""
    shapes = {(int(network["channels"]), int(network["side"])) for network in networks}
    if len(shapes) != 1:
        raise InputError(f"expected members for images of one shape, found {sorted(shapes)}")
    ((channels, side),) = shapes
    levels = torch.arange(channels * side * side).remainder(256).reshape(channels, side, side)
    images = torch.stack([torch.zeros_like(levels), levels, torch.full_like(levels, 255)])
    if not ensemble(images.to(torch.uint8)).isfinite().all():
        raise InputError("expected weights that give finite numbers, found NaN or infinity")


class Guarded(nn.Module):
    """A defence before an ensemble: pixels to the logarithm of the mean softmax.

    The ensemble's rule is not asked: an attacker differentiates the mean.
    """

    def __init__(self, defence: Defence, ensemble: Ensemble) -> None:
        """Both as they are, in their own mode."""
        super().__init__()
        self.defence, self.ensemble = defence, ensemble

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Logits:
        """One draw of the defence; arguments as `Defence.forward` takes them."""
        seen = self.defence(pixels, generators, rounding=rounding)
        return self.ensemble.log_mean(seen, rounding=rounding)


def seen_by(pixels: Pixels, table: QTable | None, *, rounding: Rounding = round_through) -> Pixels:
    """What a network behind a table sees of the pixels; None leaves them as they are."""
    return pixels if table is None else codec.compress(pixels, table, rounding=rounding)


def combined(outputs: Tensor, rule: str) -> Probabilities:
    """Softmax outputs [members, n, classes] as one distribution an image, by a rule of RULES.

    For "vote" it is (votes + mean) / (members + 1): the mean, below 1, decides between classes of
    as many votes and never overrules a vote.
    """
    mean = outputs.mean(0)
    if rule == "mean":
        return mean
    votes = nn.functional.one_hot(outputs.argmax(2), outputs.shape[2]).sum(0)
    return (votes + mean) / (len(outputs) + 1)
