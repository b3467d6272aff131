"""The defences that studies of threats compare, by name, and the black box's other network."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from core.defences import defence_by_name
from core.defences.compression import SHIELD_QUALITIES
from core.errors import InputError
from core.models import needs_training
from core.seeds import derived
from results import schema
from search import chain, prepare
from search.engine.sweep import Engine
from search.stages import ClassifierCell, Source, classifier_study
from search.threats import Victim

OURS, TABLE, VACCINATED = "ours", "table", "vaccinated"
PAPER_MEMBERS = ("M", "M90", "M70", "M50", "M30")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the networks of an ensemble are fine-tuned."""

    table: str
    codec: str
    sigma_255: float
    xi: float
    epochs: int
    learning_rate: float
    decay: float


def victims(
    engine: Engine,
    source: Source,
    found: prepare.Prepared,
    *,
    names: Sequence[str],
    training: Training,
    members: Sequence[str] = PAPER_MEMBERS,
) -> dict[str, Victim]:
    """Each named defence before its networks, which are trained if they are not in the bank.

    Beside the names of `core.defences.defence_by_name`: `table`, the table of `training` alone;
    `ours`, some members of the noise-trained chain, each at its own quality; `vaccinated`, SHIELD
    before networks fine-tuned on JPEG-compressed images, from 80 down to 20 (Das et al. 2018,
    section 3.3).

    Raises:
        InputError: a name twice or unknown, or no such member.
    """
    check_names(names, training.table, members)
    out: dict[str, Victim] = {}
    for name in names:
        if name == OURS:
            chosen = [m for m in _chain(engine, source, found, training) if m.name in members]
            out[name] = Victim(tuple(m.weights for m in chosen), tuple(m.table for m in chosen))
        elif name == VACCINATED:
            own = replace(training, table="ijg50", codec="jpeg", sigma_255=0.0, xi=0.0)
            trained = _chain(engine, source, found, own, falling=SHIELD_QUALITIES[::-1])[1:]
            networks = tuple(member.weights for member in trained)
            out[name] = Victim(networks, ("",) * len(networks), front="shield")
        else:
            front = training.table if name == TABLE else name
            out[front] = Victim((found.weights,), ("",), front=front)
    return out


def check_names(names: Sequence[str], table: str, members: Sequence[str]) -> None:
    """InputError for names that `victims` cannot make anything of, before anything is trained."""
    fronts = [table if name == TABLE else name for name in names]
    if len(set(fronts)) < len(fronts):
        raise InputError(
            f"a defence stands twice in {' '.join(fronts)}.\nHint: name each once; "
            f"'{TABLE}' is what --table names."
        )
    for front in fronts:
        if front not in (OURS, VACCINATED):
            defence_by_name(front)
    if unknown := [name for name in members if name not in chain.MEMBERS]:
        raise InputError(
            f"expected members among {', '.join(chain.MEMBERS)}, got {', '.join(unknown)}.\n"
            "Hint: as in M+M90+M50."
        )


def _chain(
    engine: Engine, source: Source, found: prepare.Prepared, training: Training,
    *, falling: Sequence[int] = (),
) -> tuple[chain.Member, ...]:  # fmt: skip
    cell = chain.ChainCell(**asdict(found.inputs), weights=found.weights, **asdict(training))
    if falling:
        cell = replace(cell, qualities=tuple(falling))
    (members,) = chain.make_chains(engine, source, [cell])
    return members


def surrogate(engine: Engine, source: Source, model: str | None) -> str:
    """The piece of the black box's network: another model, or the same one from another seed.

    Raises:
        InputError: none is named, where the model comes with its weights.
    """
    if model is None and not needs_training(source.model):
        raise InputError(
            f"the black box attacks another network than {source.model!r}; none is named.\n"
            "Hint: --surrogate timm:resnetv2_101 is the paper's; no --black leaves it out."
        )
    other = source
    if model is not None:
        trains = needs_training(model)
        other = replace(source, model=model, architecture=None,
                        epochs=source.epochs if trains else None)  # fmt: skip
    data = source.open()
    cell: ClassifierCell = prepare.classifier_cell(other, data)
    if other.model == source.model:
        cell = replace(cell, seed=derived(source.seed, "surrogate"))
    sweep = prepare.sweep_name([cell.data, str(cell.side)], data.fingerprint)
    (rows,) = prepare.make(
        engine, classifier_study(other), [cell], sweep, label="surrogate", whole_node=True
    )
    piece: str = schema.column(rows, "piece")[0]
    return piece
