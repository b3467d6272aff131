"""What tuning asks of a setting: train its chain, keep its members' outputs, score all subsets.

Chains and outputs are cells and lie in the bank by content: a setting that was asked before, by
this study or another, costs a look.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import attacks
from core.codec import qtable
from core.defences import subsets
from core.training import noisy
from search.chain import MEMBERS, OUTPUTS, ChainCell, Member, make_chains, make_outputs
from search.chain_training import VERSION as CHAIN_VERSION
from search.chain_training import chain_id
from search.engine.bank import Bank
from search.engine.record import Record
from search.engine.study import Place, Study
from search.engine.sweep import CellsFailed, Engine, evaluate_cell
from search.inputs.loading import Inputs
from search.prepare import Piece, Prepared, sweep_name
from search.stages import Source
from search.tuning.driver import Failed
from search.tuning.space import Setting

STUDY = "ensemble_tune"


@dataclass(frozen=True, kw_only=True)
class SubsetsCell(Inputs):
    """All subsets of one chain's members on the images that tune."""

    weights: str  # the piece of M
    table: str  # quality 50
    qs_af: int
    sigma_255: float
    xi: float
    chain: str  # the chain's cell
    attack: str
    eps_255: float
    rule: str  # "mean" or "vote"
    pieces: tuple[str, ...]  # of images, benign and adversarial


@dataclass(frozen=True, kw_only=True)
class SubsetRow:
    """One subset of the members."""

    subset: int  # bit i is member i of search.chain.MEMBERS
    members: str  # such as M+M90+M50
    n_members: int
    n_benign: int
    n_benign_right_undefended: int
    n_benign_right: int
    n_adversarial: int
    n_adversarial_right: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all chains of a study have in common."""

    table: qtable.Defensive  # quality 50; its qs_af is tuned
    rule: str
    epochs: int  # of each member
    learning_rate: float = noisy.LEARNING_RATE
    decay: float = noisy.DECAY


@dataclass(frozen=True)
class Ensembles:
    """Answers settings of a study, on an engine."""

    engine: Engine
    source: Source
    prepared: Prepared
    attack: attacks.Attack
    recipe: Recipe
    sweep: str  # of the rows
    record: Record | None = None  # what `python -m results` lists

    def note(self, state: str) -> None:
        """Tell the store how far the study is."""
        if self.record is None:
            return
        n_done = len(self.engine.store.root.sizes(self.engine.store.folder(STUDY, self.sweep)))
        self.record.write(
            {"state": state, "n_cells": None, "n_done": n_done, "failed": {}, "best": ""}
        )

    def __call__(self, settings: Sequence[Setting]) -> list[subsets.Scores | Failed]:
        """Every subset's counts for each setting; Failed where its own cells fail."""
        try:
            return list(self._scored(settings))
        except CellsFailed as failure:
            if len(settings) == 1:
                return [Failed(next(iter(failure.outcome.failed.values())))]
        # One failed: what the others made is kept, so asking each alone costs nothing.
        return [answer for setting in settings for answer in self([setting])]

    def chain_cell(self, setting: Setting) -> ChainCell:
        """The chain of a setting."""
        recipe = self.recipe
        return ChainCell(
            **asdict(self.prepared.inputs),
            weights=self.prepared.weights,
            table=replace(recipe.table, qs_af=int(setting["qs_af"])).name,
            codec="ours",
            sigma_255=float(setting["sigma_255"]),
            xi=int(setting["xi_percent"]) / 100,
            epochs=recipe.epochs,
            learning_rate=recipe.learning_rate,
            decay=recipe.decay,
        )

    def chains(self, settings: Sequence[Setting]) -> list[tuple[Member, ...]]:
        """Each setting's members, M first, trained where they are not stored."""
        cells = [self.chain_cell(setting) for setting in settings]
        return make_chains(self.engine, self.source, cells)

    def outputs(
        self, chains: Sequence[tuple[Member, ...]], split: str, subject: str
    ) -> list[NDArray[np.float32]]:
        """Each chain's softmax outputs on the images of a kind: [members, n, classes]."""
        inputs, pieces = self.prepared.inputs, self.pieces(split, subject)
        name = sweep_name([inputs.data, str(inputs.side), "ensembles"], self.prepared.weights)
        members = list(dict.fromkeys(member for chain in chains for member in chain))
        found = make_outputs(
            self.engine, inputs, members, pieces, name, label=f"outputs, {split} {subject}"
        )
        return [
            np.stack([np.concatenate([found[m, p.name] for p in pieces]) for m in chain])
            for chain in chains
        ]

    def pieces(self, split: str, subject: str) -> list[Piece]:
        """The images of a kind."""
        return [p for p in self.prepared.pieces if (p.split, p.subject) == (split, subject)]

    def labels(self, split: str, subject: str) -> NDArray[np.int64]:
        """Their classes, in the order of `outputs`."""
        return np.concatenate([piece.labels for piece in self.pieces(split, subject)])

    def undefended(self, split: str = "search") -> int:
        """How many benign images M alone gets right."""
        return sum(int(piece.right.sum()) for piece in self.pieces(split, "benign"))

    def settled(self) -> bool:
        """Whether some setting's rows are stored."""
        store = self.engine.store
        return bool(store.root.sizes(store.folder(STUDY, self.sweep)))

    def question(self) -> dict[str, Any]:
        """All that decides the answers, in plain words."""
        recipe = asdict(self.recipe) | {"table": self.recipe.table.name}
        pieces = {
            f"images: {split} {subject}": [p.name for p in self.pieces(split, subject)]
            for split, subject in (("search", "benign"), ("search", "adversarial"))
        }
        parts = {"data": asdict(self.prepared.inputs), "attack": asdict(self.attack)}
        named = {f"{n}: {k}": v for n, part in parts.items() for k, v in part.items()}
        made = {"made: chains": CHAIN_VERSION, "made: outputs": OUTPUTS.version}
        return named | pieces | {"model: weights": self.prepared.weights} | made | recipe

    def _scored(self, settings: Sequence[Setting]) -> list[subsets.Scores]:
        chains = self.chains(settings)
        outputs = {s: self.outputs(chains, "search", s) for s in ("benign", "adversarial")}
        labels = {subject: self.labels("search", subject) for subject in outputs}
        scores = [
            subsets.score(
                outputs["benign"][i], labels["benign"],
                outputs["adversarial"][i], labels["adversarial"], rule=self.recipe.rule,
            )
            for i in range(len(chains))
        ]  # fmt: skip
        for setting, counts in zip(settings, scores, strict=True):
            self._store(setting, counts)
        self.note("running")
        return scores

    def _store(self, setting: Setting, scores: subsets.Scores) -> None:
        """Keep a setting's counts as rows; storing the same again changes nothing."""
        chain = self.chain_cell(setting)
        study = Study(STUDY, 1, SubsetsCell, SubsetRow, _no_inputs, self._rows(scores))
        kinds = (("search", "benign"), ("search", "adversarial"))
        cell = SubsetsCell(
            **asdict(self.prepared.inputs), weights=chain.weights, table=chain.table,
            qs_af=int(setting["qs_af"]), sigma_255=chain.sigma_255, xi=chain.xi,
            chain=chain_id(chain), attack=self.attack.name,
            eps_255=self.attack.eps_255, rule=self.recipe.rule,
            pieces=tuple(p.name for kind in kinds for p in self.pieces(*kind)),
        )  # fmt: skip
        store = self.engine.store
        store.write(study.name, self.sweep, evaluate_cell(study, cell, store, Place("cpu", 1)))

    def _rows(self, scores: subsets.Scores) -> Any:
        numbers = range(1, len(scores.n_members) + 1)
        columns = {
            "subset": list(numbers),
            "members": ["+".join(subsets.names(n, MEMBERS)) for n in numbers],
            "n_members": scores.n_members,
            "n_benign": [scores.n_benign] * len(numbers),
            "n_benign_right_undefended": [self.undefended()] * len(numbers),
            "n_benign_right": scores.n_benign_right,
            "n_adversarial": [scores.n_adversarial] * len(numbers),
            "n_adversarial_right": scores.n_adversarial_right,
        }
        return lambda _, __: columns


def _no_inputs(_: SubsetsCell, __: Bank, ___: Place) -> None:
    return None
