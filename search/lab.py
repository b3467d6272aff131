"""What one run of a job has in hand: engine, data, network. One door to all that a study needs.

It makes or finds what a study stands on, and runs the study's own sweep. Whatever was made for
another study is found.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

import results
from core.attacks import Attack, parse_attack, parse_attacks
from core.data import Data
from core.data.folder import FolderData
from core.defences import Defence
from core.errors import InputError
from core.models import needs_training
from core.seeds import derived
from results import schema
from results.shown import redacted, scrubbed
from search import flags, scores
from search.engine.bank import Bank
from search.engine.plan import Grid, Plan
from search.engine.study import CellsFailed, Study
from search.engine.sweep import Sweeper
from search.inputs import chains, codecs, fronts, networks, pictures, trainings
from search.inputs.alike import say_alike
from search.inputs.budgets import check_some, check_whole
from search.inputs.chains import Chain, ChainCell, Member
from search.inputs.loading import SCREENED, Inputs, Victim, defence_of
from search.inputs.making import make, sweep_name
from search.inputs.pictures import Pictures, Piece, Threat
from search.inputs.trainings import Trained


@dataclass
class Lab:
    """One question's engine, data and network."""

    engine: Sweeper
    asked: flags.Flags
    swept: list[tuple[str, str]] = field(default_factory=list)  # one: see `answers`
    training_run: int = 0  # of several trainings of the same networks
    weights: str | None = None  # of the bank, where the network is not that of the flags

    def answers(self, swept: tuple[str, str]) -> None:
        """Say that the answer is about this study and sweep; the first word counts."""
        if not self.swept:
            self.swept.append(swept)

    def runs(self, n: int) -> list["Lab"]:
        """The question of networks trained n times, from seeds of their own; data, attacks as here.

        InputError where there are several and the network comes with its weights.
        """
        if n > 1 and not needs_training(self.asked.model):
            raise InputError(
                f"--runs {n} trains the network anew, and {self.asked.model} comes with its "
                "weights.\n"
                "Hint: leave it out, or train one here: --model small_resnet or train:NAME."
            )
        return [self, *(replace(self, training_run=run) for run in range(1, n))]

    def defending(self, model: str, weights: str) -> "Lab":
        """The question of another network: of that name, and the bank's piece of its weights."""
        return replace(self, asked=replace(self.asked, model=model), weights=weights)

    @cached_property
    def source(self) -> networks.Source:
        """Data and network as the flags name them."""
        names = set(networks.Source.__dataclass_fields__) - {"digests", *flags.RECIPE}
        given = {name: getattr(self.asked, name) for name in names}
        return networks.Source(**given, **self.asked.recipe).seen()

    @cached_property
    def data(self) -> Data:
        """The data set; InputError where it cannot be opened."""
        return self.source.open()

    @cached_property
    def _cell(self) -> networks.ClassifierCell:
        return networks.classifier_cell(self.source, self.data)

    @cached_property
    def inputs(self) -> Inputs:
        """How rows name what they were measured on."""
        cell = self._cell
        return Inputs(
            data=cell.data,
            side=cell.side,
            fingerprint=cell.fingerprint,
            model=cell.model,
            seed=cell.seed,
            precision="fp32" if self.asked.precision == SCREENED else self.asked.precision,
        )

    @property
    def title(self) -> str:
        """What was measured on, in a few words; a checkpoint without its file's ending."""
        network = self.inputs.model.replace(":", " ", 1).replace(".safetensors", "")
        return f"{self.images}, {network}"

    @property
    def images(self) -> str:
        """Which images, in a few words; a folder by its last name."""
        return f"{self.inputs.data.replace(':', ' ', 1)} {self.inputs.side} px"

    @property
    def state(self) -> dict[str, Any]:
        """What the store's listing says of how a sweep was asked for."""
        command = " ".join(scrubbed(redacted(word)) for word in sys.argv)
        data, model = (scrubbed(redacted(text)) for text in (self.asked.data, self.asked.model))
        return {"command": command, "data": data, "model": model}

    def needs_colour(self) -> None:
        """InputError for gray data."""
        if self.data.channels == 1:
            raise InputError(
                f"colour spaces need colour, and {self.asked.data} is gray.\nHint: --data photos."
            )

    # networks: names of bank files

    @cached_property
    def classifier(self) -> str:
        """The network that is defended, trained or opened."""
        if self.weights is not None:
            return self.weights
        cell = replace(self._cell, seed=self._cell.seed + self.training_run)
        return self.classifier_of((self.source, cell), label="classifier")

    def surrogate(self, model: str | None) -> tuple[networks.Source, networks.ClassifierCell]:
        """The black box's network: another model, or the same one from another seed.

        Nothing is trained or opened yet; `classifier_of` does it.

        Raises:
            InputError: none is named, where the model comes with its weights; or no such model.
        """
        source = self.source
        if model is None and not needs_training(source.model):
            raise InputError(
                f"the black box attacks another network than {source.model!r}; none is named.\n"
                "Hint: --surrogate timm:resnetv2_101 is the paper's; no --black leaves it out."
            )
        if model is not None:
            epochs = source.epochs if needs_training(model) else None
            other: dict[str, Any] = {"architecture": None, "normalise": None, "epochs": epochs}
            if model != source.model:  # trained as is usual for it, but for epochs
                other |= {"retrain": False} | dict.fromkeys(flags.RECIPE)
            source = replace(source, model=model, **other)
        cell = networks.classifier_cell(source, self.data)
        if needs_training(source.model):
            cell = replace(cell, seed=cell.seed + self.training_run)
        if source.model == self.source.model:
            cell = replace(cell, seed=derived(cell.seed, "surrogate"))
        return source, cell

    def classifier_of(
        self, wanted: tuple[networks.Source, networks.ClassifierCell], *, label: str
    ) -> str:
        """A network, trained or opened."""
        return networks.classifier(self.engine, *wanted, label=label)

    def trained(
        self,
        recipes: Sequence[str],
        *,
        epochs: int | None = None,
        learning_rate: float | None = None,
    ) -> list[Trained]:
        """Networks that recipes train: from the weights that ours comes with, or random ones."""
        start = None if needs_training(self.asked.model) else self.classifier
        how: dict[str, Any] = {"start": start, "epochs": epochs, "learning_rate": learning_rate}
        cells = [trainings.cell(self.inputs, self.source, recipe, **how) for recipe in recipes]
        cells = [replace(cell, seed=cell.seed + self.training_run) for cell in cells]
        study = trainings.trained_study(self.source)
        sweep = networks.shared_sweep(self.inputs, "trained")
        made = make(self.engine, study, cells, sweep, label="training")
        return [trainings.trained_of(rows) for rows in made]

    def chain_cell(self, asked: flags.Chained, sigma_255: float, **changes: Any) -> ChainCell:
        """The chain that flags describe. InputError for what no chain can have."""
        cell = ChainCell(
            **self.inputs.fields(),
            weights=self.classifier,
            table=asked.table,
            codec=asked.codec,
            sigma_255=sigma_255,
            xi=asked.xi,
            epochs=asked.chain_epochs,
            learning_rate=asked.chain_learning_rate,
            decay=asked.chain_decay,
        )
        return replace(cell, seed=cell.seed + self.training_run, **changes)

    def chains(self, cells: Sequence[ChainCell]) -> list[Chain]:
        """Each chain, trained where it is not in the bank."""
        return chains.make_chains(self.engine, self.source, cells)

    # pictures

    def count(
        self, *, attacked: int | Mapping[str, int] = 0, **splits: int | None
    ) -> Mapping[str, int]:
        """How many images of each split are meant; None: 1000 or all there are.

        InputError for more than there are, or fewer than are to be `attacked` afterwards.
        """
        flag = {"search": "--benign", "report": "--report-benign"}
        n = {name: pictures.n_of(self.data, name, k, flag[name]) for name, k in splits.items()}
        for split, have in n.items():
            wanted = attacked if isinstance(attacked, int) else attacked[split]
            if wanted > have:
                raise InputError(
                    f"{wanted} adversarial examples of the {split} split need as many correctly "
                    f"classified images of it, and there are {have} in all.\n"
                    f"Hint: fewer examples, or a larger {flag[split]}."
                )
        return n

    def benign(self, *, attacked: int | Mapping[str, int] = 0, **splits: int | None) -> Pictures:
        """Images of each split as they are, so many as `count` says."""
        n = self.count(attacked=attacked, **splits)
        made = pictures.benign(self.engine, self.source, self.inputs, self.classifier, n=n)
        if not needs_training(self.source.model):
            right = np.concatenate([piece.right for piece in made.pieces])
            networks.say_right(self.inputs.model, right, n_classes=len(self.data.classes))
        if isinstance(self.data, FolderData) and not self.data.groups and not self.asked.figure:
            say_alike(self.data, Bank(self.engine.store.root), made)
        return made

    def attack(self, text: str, *, eight_bit: bool = True, **given: Any) -> Attack:
        """The attack that a text names, on images of these data; as `parse_attack`.

        InputError for a budget that is nothing once examples are rounded to 8 bits.
        """
        data = self.data
        attack = parse_attack(text, channels=data.channels, side=data.side, **given)
        return self._fit(attack, eight_bit=eight_bit)

    def _fit(self, attack: Attack, *, eight_bit: bool = True) -> Attack:
        attack.check_target(len(self.data.classes))
        return check_whole(attack) if eight_bit else check_some(attack)

    def attacks(self, texts: Sequence[str]) -> list[Attack]:
        """Those that texts name, such as the parts of worst@8; as `parse_attacks`."""
        found = parse_attacks(texts, channels=self.data.channels, side=self.data.side)
        return [self._fit(attack) for attack in found]

    def white(
        self, name: str, victim: Victim, wanted: Iterable[Attack], *, draws: Iterable[int] = (1,)
    ) -> list[Threat]:
        """Attacks that differentiate all of a victim and are meant for it alone.

        Of a randomised victim the mean over so many draws, for each number of them. What cannot
        matter is left out: the quantiser's derivative, how draws are made, their number.
        """
        front = self.defence(victim.front)
        if not (any(victim.tables) or front.quantises):
            wanted = [attack.without("through") for attack in wanted]
        if not front.randomised:
            wanted, draws = [attack.without("draws") for attack in wanted], [0]
        threats = (
            # Its authors take one draw a step: a thousand steps are its expectation.
            Threat(
                "white", attack, victim, name, min(n, 1) if attack.name.startswith("bpda") else n
            )
            for attack in wanted
            for n in draws
        )
        return list(dict.fromkeys(threats))

    def attacked(
        self,
        benign: Pictures,
        *wanted: Attack,
        first_right: int | Mapping[str, int],
        eight_bit: bool = True,
    ) -> list[Pictures]:
        """The first so many images (of each split) that the bare network gets right, attacked.

        The gray box: the attacker knows the undefended network.
        """
        n = first_right
        if isinstance(n, int):
            n = dict.fromkeys((piece.split for piece in benign.pieces), n)
        return pictures.first_right(
            self.engine, self.inputs, self.classifier, benign, wanted, n=n, eight_bit=eight_bit
        )

    def in_order(self, pieces: Sequence[Piece], *, behind: str) -> list[Piece]:
        """The same images, each piece by their margins behind a codec, the most wrong first."""
        return pictures.in_order(self.engine, self.inputs, self.classifier, pieces, behind)

    def threatened(
        self, benign: Pictures, threats: Sequence[Threat], *, block: int
    ) -> list[Pictures]:
        """All images under each threat."""
        return pictures.under_threat(self.engine, self.inputs, benign, threats, block=block)

    # victims, what else a study makes, scores, the study's own sweep

    def victim(self, front: str = "none", members: Sequence[Member] = ()) -> Victim:
        """The network, or members of a chain, behind a defence."""
        front = self.front(front)
        if not members:
            return Victim((self.classifier,), ("",), front)
        networks, tables = zip(*((m.weights, m.table) for m in members), strict=True)
        return Victim(networks, tables, front, chains.origin(members))

    def front(self, name: str) -> str:
        """A defence as cells name it: what was learned by its piece, all others as they are.

        InputError for no defence, or for one that the store does not hold for these data.
        """
        weights = not self.asked.figure
        return fronts.front(name, lambda: self.inputs, self.engine.store.root, weights=weights)

    def defence(self, name: str) -> Defence:
        """The defence of that name. InputError as `front`."""
        return defence_of(Bank(self.engine.store.root), self.front(name))

    def codecs(self, cells: Sequence[codecs.CodecCell]) -> list[schema.Table]:
        """The rows of learned codecs, trained where they are not in the bank."""
        return self.made(codecs.codec_study(self.source), cells, codecs.SWEEP, label="codecs")

    def victims(self, fronts: Iterable[str]) -> dict[str, Victim]:
        """The network behind each of some defences; an unknown one is said before all training."""
        found = {name: self.front(name) for name in fronts}
        return {name: self.victim(front) for name, front in found.items()}

    def network(self, weights: str) -> Victim:
        """Another network of the bank, without a defence."""
        return Victim((weights,), ("",))

    def made(
        self, study: Study[Any, Any], cells: Sequence[Any], *words: str, label: str
    ) -> list[schema.Table]:
        """The rows of a study's cells whose outcome is a piece of the bank; `words` name all."""
        sweep = networks.shared_sweep(self.inputs, *words)
        return make(self.engine, study, cells, sweep, label=label)

    def tensors(self, piece: str) -> dict[str, Tensor]:
        """What a piece of the bank holds, such as a figure's images."""
        return Bank(self.engine.store.root).get(piece)[0]

    def score(
        self,
        study: Study[Any, scores.Loaded],
        victims: Mapping[str, Victim],
        pictures: Sequence[Pictures],
        *words: str,
        block: int,
        n_draws: int = 0,
    ) -> results.Rows:
        """The rows of every victim before all pictures that are meant for it; `subject` says which.

        "benign" or "adversarial". `n_draws`: of a `scores.drawn_study`, a row for each.
        """
        cells = list(scores.cells(self.inputs, victims, pictures, block=block))
        if n_draws:
            cells = [scores.drawn(cell, n_draws) for cell in cells]
        rows = self.sweep(scores.told(study, victims), cells, *words, label="scores")
        place = {study.cell_id(cell): i for i, cell in enumerate(cells)}
        ids = rows["cell_id"].cat  # a text for each cell, not for each row
        order = ids.categories.map(place).to_numpy()[ids.codes].argsort(kind="stable")
        rows = self.grouped(rows.iloc[order])
        return rows.assign(subject=np.where(rows["threat"] == "none", "benign", "adversarial"))

    def grouped(self, rows: results.Rows) -> results.Rows:
        """Rows with the `group` of each image, as the data know it now; as they are where not."""
        return results.grouped(rows, self.data.group) if self.data.grouped_by else rows

    def name(self, words: Sequence[str], asked: object) -> str:
        """A sweep's name: data, side, model, words for people, and a hash of what is asked."""
        inputs = self.inputs
        return sweep_name([inputs.data, str(inputs.side), inputs.model, *words], asked)

    def sweep(
        self,
        study: Study[Any, Any],
        cells: Sequence[Any],
        *words: str,
        label: str,
        listed: bool = True,
    ) -> results.Rows:
        """The rows of these cells, run where they are not stored; `listed`: it is the question."""
        sweep = self.name(words, [asdict(cell) for cell in cells])
        return self.run(study, Grid(study.cell_id, cells), sweep, label=label, listed=listed)

    def run(
        self, study: Study[Any, Any], plan: Plan, sweep: str, *, label: str, listed: bool = True
    ) -> results.Rows:
        """The rows of a plan's cells under a sweep's name. CellsFailed where one fails."""
        if listed:
            self.answers((study.name, sweep))
        state = self.state if listed else None
        outcome = self.engine.sweep(study, plan, sweep, label=label, state=state)
        if outcome.failed:
            raise CellsFailed(outcome)
        return results.load(study.name, sweep=sweep, store=self.engine.store.root)
