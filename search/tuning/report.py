"""A few chosen ensembles on held-out images, one row an image; and the winner as one file."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from core.defences.ensemble import Ensemble, combined
from search.chain import MEMBERS
from search.chain_training import chain_id
from search.engine.bank import Bank
from search.engine.study import Place, Study
from search.engine.sweep import evaluate_cell
from search.inputs.loading import Inputs, members
from search.tuning.space import Setting
from search.tuning.subsets import Ensembles


@dataclass(frozen=True)
class Chosen:
    """Some members of the chain of a setting."""

    setting: Setting
    members: str  # such as M+M90+M50

    @property
    def names(self) -> list[str]:
        """The members' names."""
        return self.members.split("+")


@dataclass(frozen=True, kw_only=True)
class ReportCell(Inputs):
    """One ensemble on the held-out images of a kind."""

    weights: str  # the piece of M
    table: str
    sigma_255: float
    xi: float
    chain: str  # the chain's cell
    members: str
    rule: str
    attack: str
    eps_255: float
    split: str
    subject: str
    pieces: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One image."""

    image: int  # id within the split
    label: int
    undefended: int  # class that M predicts without a codec
    predicted: int


def report(ensembles: Ensembles, chosen: Sequence[Chosen], *, split: str = "report") -> list[str]:
    """Store every image's outcome; the chains' cells, by which `ensemble_report` tells them."""
    chains = ensembles.chains([one.setting for one in chosen])
    for subject in ("adversarial", "benign"):
        outputs = ensembles.outputs(chains, split, subject)
        for one, said in zip(chosen, outputs, strict=True):
            picked = torch.from_numpy(said)[[MEMBERS.index(name) for name in one.names]]
            predicted = combined(picked, ensembles.recipe.rule).argmax(1)
            _store(ensembles, one, split, subject, predicted.tolist())
    return [_chain_id(ensembles, one) for one in chosen]


def _chain_id(ensembles: Ensembles, one: Chosen) -> str:
    return chain_id(ensembles.chain_cell(one.setting))


def _store(
    ensembles: Ensembles, one: Chosen, split: str, subject: str, predicted: list[int]
) -> None:
    chain, pieces = ensembles.chain_cell(one.setting), ensembles.pieces(split, subject)
    columns: dict[str, Any] = {
        "image": [int(i) for piece in pieces for i in piece.images],
        "label": [int(i) for piece in pieces for i in piece.labels],
        "undefended": [int(i) for piece in pieces for i in piece.undefended],
        "predicted": predicted,
    }
    cell = ReportCell(
        **asdict(ensembles.prepared.inputs), weights=chain.weights, table=chain.table,
        sigma_255=chain.sigma_255, xi=chain.xi, chain=_chain_id(ensembles, one),
        members=one.members, rule=ensembles.recipe.rule, attack=ensembles.attack.name,
        eps_255=ensembles.attack.eps_255, split=split, subject=subject,
        pieces=tuple(piece.name for piece in pieces),
    )  # fmt: skip
    study = Study(
        "ensemble_report", 1, ReportCell, ReportRow, lambda *_: None, lambda _, __: columns
    )
    store = ensembles.engine.store
    store.write(study.name, ensembles.sweep, evaluate_cell(study, cell, store, Place("cpu", 1)))


def export(ensembles: Ensembles, one: Chosen) -> bytes:
    """The ensemble as one safetensors file, which `core.defences.ensemble.Ensemble.load` reads."""
    (chain,) = ensembles.chains([one.setting])
    bank = Bank(ensembles.engine.store.root)
    chosen = [member for member in chain if member.name in one.names]
    names, weights, tables = zip(*((m.name, m.weights, m.table) for m in chosen), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ensemble.safetensors"
        Ensemble(members(bank, names, weights, tables), rule=ensembles.recipe.rule).save(path)
        return path.read_bytes()
