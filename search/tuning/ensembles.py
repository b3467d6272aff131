"""What tuning asks of a setting: train its chain, keep its members' outputs, score all subsets.

Chains and outputs are cells and lie in the bank by content: a setting that was asked before, by
this study or another, costs a look.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from core import attacks
from core.codec import qtable
from core.defences import Ensemble
from core.defences.subsets import Scores
from core.known import DECAY, LEARNING_RATE, MEMBERS
from search.engine.bank import Bank
from search.engine.plan import Grid
from search.engine.record import Record
from search.engine.study import CellsFailed, Study
from search.engine.sweep import Sweeper
from search.inputs import chains
from search.inputs.chains import ChainCell, Member, chain_id
from search.inputs.loading import Inputs, members_of
from search.inputs.networks import Source
from search.inputs.pictures import Piece
from search.tuning import subsets
from search.tuning.driver import Failed, tried
from search.tuning.space import Setting

STUDY, REPORT = "ensemble_tune", "ensemble_report"
N_SUBSETS = 2 ** len(MEMBERS) - 1  # all but the empty one
_KINDS = (("search", "benign"), ("search", "adversarial"))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all chains of a study have in common."""

    table: qtable.Defensive  # quality 50; its qs_af is tuned
    rule: str
    epochs: int  # of each member
    learning_rate: float = LEARNING_RATE
    decay: float = DECAY


@dataclass(frozen=True)
class Chosen:
    """Some members of the chain of a setting."""

    setting: Setting
    members: str  # such as M+M90+M50


@dataclass(frozen=True)
class Ensembles:
    """Answers settings of a study, on an engine."""

    engine: Sweeper
    source: Source
    inputs: Inputs
    weights: str  # the piece of M
    pieces: tuple[Piece, ...]  # of both splits
    attack: attacks.Attack
    recipe: Recipe
    sweep: str = ""  # of the rows
    record: Record | None = None  # what `python -m results` lists

    @property
    def n_done(self) -> int:
        """How many settings' rows are stored."""
        store = self.engine.store
        return len(store.root.sizes(store.folder(STUDY, self.sweep)))

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """The store says that the study is running, and then how it ended."""
        ended = "stopped"
        self._note("running")
        try:
            yield
            ended = "complete"
        finally:
            self._note(ended)

    def _note(self, state: str) -> None:
        if self.record is not None:
            rest: dict[str, Any] = {"n_cells": None, "failed": {}, "best": ""}
            self.record.write({"state": state, "n_done": self.n_done} | rest)

    def __call__(self, settings: Sequence[Setting]) -> list[Scores | Failed]:
        """Every subset's counts for each setting; Failed where its own cells fail."""
        return tried(self._scored, settings)

    def chain_cell(self, setting: Setting) -> ChainCell:
        """The chain of a setting."""
        recipe = self.recipe
        return ChainCell(
            **self.inputs.fields(),
            weights=self.weights,
            table=replace(recipe.table, qs_af=int(setting["qs_af"])).name,
            codec="ours",
            sigma_255=float(setting["sigma_255"]),
            xi=int(setting["xi_percent"]) / 100,
            epochs=recipe.epochs,
            learning_rate=recipe.learning_rate,
            decay=recipe.decay,
        )

    def chain_of(self, setting: Setting) -> str:
        """The chain's id, by which rows tell it."""
        return chain_id(self.chain_cell(setting))

    def chains(self, settings: Sequence[Setting]) -> list[tuple[Member, ...]]:
        """Each setting's members, M first, trained where they are not stored."""
        cells = [self.chain_cell(setting) for setting in settings]
        return [made.members for made in chains.make_chains(self.engine, self.source, cells)]

    def found(
        self, settings: Sequence[Setting], kinds: Sequence[tuple[str, str]]
    ) -> dict[str, dict[str, tuple[str, ...]]]:
        """Where the outputs of each setting's chain lie, made where they are not stored."""
        made = self.chains(settings)
        everyone = list(dict.fromkeys(member for members in made for member in members))
        outputs: dict[tuple[Member, str], str] = {}
        for split, subject in kinds:
            pieces, label = self.of(split, subject), f"outputs, {split} {subject}"
            outputs |= chains.make_outputs(self.engine, self.inputs, everyone, pieces, label=label)
        names = [piece.name for kind in kinds for piece in self.of(*kind)]
        return {
            self.chain_of(setting): {n: tuple(outputs[m, n] for m in members) for n in names}
            for setting, members in zip(settings, made, strict=True)
        }

    def said(self, settings: Sequence[Setting], split: str, subject: str) -> list[subsets.Said]:
        """What each setting's members make of the images of a kind."""
        found, bank = self.found(settings, [(split, subject)]), Bank(self.engine.store.root)
        return [subsets.said(bank, found[self.chain_of(setting)]) for setting in settings]

    def of(self, split: str, subject: str) -> list[Piece]:
        """The images of a kind."""
        return [p for p in self.pieces if (p.split, p.subject) == (split, subject)]

    def undefended(self) -> int:
        """How many benign images that tune M alone gets right."""
        return sum(int(piece.right.sum()) for piece in self.of("search", "benign"))

    def question(self) -> dict[str, Any]:
        """All that decides the answers, in plain words."""
        recipe = asdict(self.recipe) | {"table": self.recipe.table.name}
        pieces = {
            f"images: {split} {subject}": [p.name for p in self.of(split, subject)]
            for split, subject in _KINDS
        }
        parts = {"data": asdict(self.inputs), "attack": asdict(self.attack)}
        named = {f"{n}: {k}": v for n, part in parts.items() for k, v in part.items()}
        made = {"made: chains": chains.VERSION, "made: outputs": chains.OUTPUTS.version}
        return named | pieces | {"model: weights": self.weights} | made | recipe

    def _scored(self, settings: Sequence[Setting]) -> list[Scores]:
        found = self.found(settings, _KINDS)
        n_benign = sum(len(piece.images) for piece in self.of(*_KINDS[0]))
        how = partial(subsets.load, found), partial(subsets.score, n_benign), subsets.counted
        study = Study(
            STUDY, 1, subsets.SubsetsCell, subsets.SubsetRow, *how, n_rows=lambda _: N_SUBSETS
        )
        cells = [self._subsets_cell(setting) for setting in settings]
        told: list[tuple[str, Scores]] = []
        plan = Grid(study.cell_id, cells, watch=told.append)
        outcome = self.engine.sweep(study, plan, self.sweep, label="subsets", recorded=False)
        if outcome.failed:
            raise CellsFailed(outcome)
        self._note("running")
        scores = dict(told)
        return [scores[cell.chain] for cell in cells]

    def report(self, chosen: Sequence[Chosen]) -> None:
        """Store every held-out image's outcome."""
        kinds = (("report", "adversarial"), ("report", "benign"))
        found = self.found([one.setting for one in chosen], kinds)
        how = partial(subsets.load, found), subsets.predict
        n_images = {kind: sum(len(p.images) for p in self.of(*kind)) for kind in kinds}

        def n_rows(cell: subsets.ReportCell) -> int:
            return n_images[cell.split, cell.subject]

        study = Study(REPORT, 1, subsets.ReportCell, subsets.ReportRow, *how, n_rows=n_rows)
        plan = Grid(study.cell_id, [self._report_cell(one, *k) for k in kinds for one in chosen])
        outcome = self.engine.sweep(study, plan, self.sweep, label="held-out report")
        if outcome.failed:
            raise CellsFailed(outcome)

    def _subsets_cell(self, setting: Setting) -> subsets.SubsetsCell:
        return subsets.SubsetsCell(**self._fields(setting, *_KINDS), qs_af=int(setting["qs_af"]))

    def _report_cell(self, one: Chosen, split: str, subject: str) -> subsets.ReportCell:
        fields = self._fields(one.setting, (split, subject))
        return subsets.ReportCell(**fields, members=one.members, split=split, subject=subject)

    def _fields(self, setting: Setting, *kinds: tuple[str, str]) -> dict[str, Any]:
        """What both cells say of a setting's chain and of the images of some kinds."""
        chain = self.chain_cell(setting)
        of_chain = {n: getattr(chain, n) for n in ("weights", "table", "sigma_255", "xi")}
        return {
            **self.inputs.fields(),
            **of_chain,
            "chain": chain_id(chain),
            "attack": self.attack.name,
            "eps_255": self.attack.eps_255,
            "rule": self.recipe.rule,
            "pieces": tuple(piece.name for kind in kinds for piece in self.of(*kind)),
        }

    def members(self, one: Chosen) -> list[Member]:
        """An ensemble's networks and their tables."""
        (chain,) = self.chains([one.setting])
        return [member for member in chain if member.name in one.members.split("+")]

    def export(self, one: Chosen) -> bytes:
        """The ensemble as one safetensors file, which `core.defences.Ensemble.load` reads."""
        chosen = self.members(one)
        names, weights, tables = zip(*((m.name, m.weights, m.table) for m in chosen), strict=True)
        behind = members_of(Bank(self.engine.store.root), names, weights, tables)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ensemble.safetensors"
            Ensemble(behind, rule=self.recipe.rule).save(path)
            return path.read_bytes()
