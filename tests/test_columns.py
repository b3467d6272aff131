"""docs/columns.md says what every column is, in the words of the classes that declare it.

GOLDEN=write writes the page anew.
"""

import ast
import importlib
import inspect
import io
import json
import os
import textwrap
import tokenize
from functools import cache
from pathlib import Path

from results import schema

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "columns.md"
NAMES = json.loads((ROOT / "tests" / "golden" / "names.json").read_text())
SCORES = (
    "ablation",
    "adversarial_training_2",
    "color_space_2",
    "ensemble_white",
    "jpeg_fgsm",
    "member_matrix",
    "threat_table",
    "train_chain",
)
KINDS = {  # what a row is; the studies, the module, its cell and row
    "one image before one victim, of every study that scores": (SCORES, "scores", "Cell", "Row"),
    "one image under one table: the table search and its held-out report": (
        ("qtable_search", "qtable_report"),
        "tables.plan",
        "Cell",
        "Row",
    ),
    "one subset of an ensemble's members": (
        ("ensemble_tune",),
        "tuning.subsets",
        "SubsetsCell",
        "SubsetRow",
    ),
    "one held-out image before the tuned ensemble": (
        ("ensemble_report",),
        "tuning.subsets",
        "ReportCell",
        "ReportRow",
    ),
    "one of 64 frequencies of one channel": (
        ("frequency_analysis",),
        "measures.frequencies",
        "Cell",
        "Row",
    ),
    "one image's size behind a codec": (("rates",), "measures.rates", "Cell", "Row"),
    "one image and one target class": (("targeted_fgsm",), "measures.targeted", "Cell", "Row"),
    "one image with and without the universal change": (
        ("universal",),
        "measures.universal",
        "Cell",
        "Row",
    ),
    "one pass that made a universal change": (
        ("universal_made",),
        "measures.universal",
        "MakeCell",
        "MakeRow",
    ),
    "one epoch of a network in three splits": (
        ("training_curves",),
        "measures.curves",
        "Cell",
        "Row",
    ),
    "one channel of one layer": (("activations",), "measures.activations", "Cell", "Row"),
    "one image of occlusion maps": (("occlusion",), "measures.occlusion", "Cell", "Row"),
    "one image made for a class": (("fooling_images",), "measures.fooling", "Cell", "Row"),
    "one epoch of a denoiser": (("denoiser",), "measures.denoised", "TrainCell", "TrainRow"),
    "one epoch of a learned codec": (("codec",), "inputs.codecs", "CodecCell", "CodecRow"),
    "one image behind a codec": (("rate_distortion",), "measures.compressed", "Cell", "Row"),
    "one image, noisy or denoised": (("denoise",), "measures.denoised", "Cell", "Row"),
    "one image before a network of transformed training images": (
        ("compressed_training", "corruption_robustness"),
        "measures.augmented",
        "Cell",
        "Row",
    ),
    "one frequency of images after a transform": (
        ("augmentation_spectrum",),
        "measures.spectrum",
        "Cell",
        "Row",
    ),
    "bank: one image after a transform": (("transformed",), "measures.transformed", "Cell", "Row"),
    "bank: one epoch of a network of transformed training images": (
        ("augmented",),
        "measures.augmented",
        "TrainCell",
        "TrainRow",
    ),
    "bank: one epoch of a classifier's training": (
        ("classifier",),
        "inputs.networks",
        "ClassifierCell",
        "ClassifierRow",
    ),
    "bank: one epoch of adversarial training": (
        ("training",),
        "inputs.trainings",
        "TrainCell",
        "TrainRow",
    ),
    "bank: one epoch of one member of a chain": (
        ("chain",),
        "inputs.chains",
        "ChainCell",
        "ChainRow",
    ),
    "bank: one image before one member": (
        ("member_outputs",),
        "inputs.chains",
        "OutputsCell",
        "OutputsRow",
    ),
    "bank: one benign image": (("benign",), "inputs.images", "BenignCell", "ImageRow"),
    "bank: one attacked image, of those the network gets right": (
        ("adversarial",),
        "inputs.images",
        "AdversarialCell",
        "ImageRow",
    ),
    "bank: one attacked image of a block": (
        ("examples",),
        "inputs.images",
        "ExamplesCell",
        "ExamplesRow",
    ),
}
ALSO = {  # what a job writes after its own first sweep
    "qtable_search": {"qtable_report", "frequency_analysis"},
    "jpeg_fgsm": {"rates"},
    "inside_cnn": {"activations", "occlusion"},
    "ensemble_tune": {
        "classifier",
        "benign",
        "adversarial",
        "chain",
        "member_outputs",
        "examples",
        "ensemble_tune",
        "ensemble_report",
        "ensemble_white",
    },
}
SHARED = {  # of columns that many classes have, where the class itself says nothing
    "cell_id": "hash of study, version and cell",
    "host": "name of the machine that evaluated the cell",
    "finished_at": "when, in UTC",
    "data": "data set, as `--data` names it",
    "side": "height and width of the images, pixels",
    "fingerprint": "hash of the data set's content and splits",
    "model": "network, as `--model` names it",
    "architecture": "of a checkpoint",
    "seed": "of everything that is drawn",
    "front": "defence before all members, as `core.defences.defence_by_name` reads it",
    "attack": "as `core.attacks.parse_attack` reads it, without its budget; `none`",
    "norm": "of the budget: `linf` or `l2`",
    "eps_255": "budget, 1/255 of a pixel, or of an image in L2",
    "step_255": "change in one step, in the same unit; 0 where there are no such steps",
    "n_steps": "of the attack",
    "n_restarts": "of the attack",
    "n_samples": "draws that a gradient is the mean of (EOT); 0 where the victim draws nothing",
    "eight_bit": "whether examples are rounded to 8 bits",
    "split": "`search` or `report`",
    "subject": "`benign` or `adversarial`",
    "piece": "the file of the bank, by its content's hash",
    "piece_bytes": "its size, bytes",
    "first": "position in the piece",
    "count": "images of the cell",
    "weights": "the network's piece in the bank",
    "images": "the images' piece",
    "attacked": "the piece of attacked images",
    "table": "as `core.codec.qtable.by_name` reads it",
    "sigma_255": "deviation of the training's noise, 1/255 of a pixel",
    "xi": "weight of images as they are, in training, 0..1",
    "epochs": "of training",
    "epoch": "from 1",
    "learning_rate": "at the beginning",
    "batch_size": "images a step",
    "loss": "mean over the epoch",
    "n_correct": "of the images trained on, while the weights move",
    "n_images": "images",
    "epoch_wall_s": "seconds",
    "member": "of the chain: M, M90, .. M30",
    "members": "such as M+M90+M50",
    "quality": "of the images that it is trained on, 1..100",
    "image": "id within the split",
    "label": "class, by the data set",
    "undefended": "class predicted without a codec",
    "predicted": "class predicted behind the defence",
    "clean": "class predicted of the image as it is",
    "perturbed": "class predicted of the changed image",
    "after": "class predicted of the attacked image",
    "p_after": "probability of the target, attacked",
    "bits": "of the entropy-coded scan, whole bytes",
    "channel": "R, G, B, Y, Cb or Cr",
    "u": "vertical frequency 0..7",
    "v": "horizontal frequency 0..7",
    "n_blocks": "8x8 blocks summed over",
    "benign": "sum of the coefficient over blocks of benign images, levels",
    "benign_squares": "sum of its squares",
    "distortion": "sum of its change by the attack, levels",
    "distortion_squares": "sum of that one's squares",
    "qs_of": "the fine step, 1..255",
    "qs_af": "the coarse step, 1..255",
    "shift": "of augmentation, at most so many pixels either way",
    "clip": "length that a gradient is cut to",
    "stride": "between places of the patch, pixels",
    "fill_255": "level of the patch, 0..255",
    "least_p": "the least probability of the label under any patch",
    "n_places": "of the patch",
    "n_on_ink": "of them where the patch covers ink",
    "n_together": "images that DeepFool moved at a time; 0: a random change",
    "xi_255": "largest change, 1/255 of a pixel, or of an image in L2",
    "pass_wall_s": "seconds",
    "rule": "`mean` of the outputs or `vote`",
    "n_members": "in the subset",
    "n_benign": "benign images",
    "n_benign_right": "of them right behind the ensemble",
    "n_benign_right_undefended": "of them right by M without a codec",
    "n_adversarial": "attacked images",
    "n_adversarial_right": "of them right behind the ensemble",
}


@cache
def comments(owner: type) -> dict[str, str]:
    """What stands behind each field in its class's source."""
    source = textwrap.dedent(inspect.getsource(owner))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    said = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    fields = [node for node in ast.parse(source).body[0].body if isinstance(node, ast.AnnAssign)]
    return {f.target.id: said[f.end_lineno] for f in fields if f.end_lineno in said}


@cache
def provenance() -> dict[str, str]:
    source = inspect.getsource(schema).splitlines()
    lines = [line.partition("#") for line in source if line.strip().startswith('pa.field("')]
    return {line.split('"')[1]: text.strip() for line, _, text in lines if text}


def meaning(name: str, owners: tuple[type, ...]) -> str:
    for owner in owners:
        for base in owner.__mro__:
            if name in getattr(base, "__annotations__", {}) and name in comments(base):
                return comments(base)[name]
    return provenance().get(name) or SHARED[name]


def kinds() -> list[tuple[str, tuple[str, ...], type, type]]:
    found = []
    for what, (studies, place, *names) in KINDS.items():
        module = importlib.import_module(f"search.{place}")
        found.append((what, studies, *(getattr(module, name) for name in names)))
    return found


def jobs_of(study: str) -> list[str]:
    written = {job: set(found) | ALSO.get(job, set()) for job, found in NAMES.items()}
    written["ensemble_tune"] = ALSO["ensemble_tune"]
    return sorted(job for job, studies in written.items() if study in studies)


def line(field, owners) -> str:
    kind = {"dictionary": "text", "double": "float64"}
    bare = str(field.type).partition("<")[0]
    null = ", or null" if field.nullable else ""
    return f"| `{field.name}` | {kind.get(bare, bare)}{null} | {meaning(field.name, owners)} |"


HEAD = """# Columns

What the files of rows hold, `<store>/rows/study=STUDY/sweep=SWEEP/*.parquet`; for whoever reads a
folder `study` and `sweep` are columns too. Outcomes and counts, never ratios. This page is made
from the classes that declare the columns, by `GOLDEN=write pytest tests/test_columns.py`.

## Every row

"""
TOP = "| column | type | |\n|---|---|---|\n"


def page() -> str:
    common = {field.name for field in schema.PROVENANCE}
    parts = [HEAD + TOP + "\n".join(line(field, ()) for field in schema.PROVENANCE)]
    for what, studies, cell, row in kinds():
        fields = [f for f in schema.schema_of(cell, row) if f.name not in common]
        by = [f"`{study}`, by {', '.join(jobs_of(study))}" for study in studies]
        title = f"## {what[0].upper()}{what[1:]}\n\nStudy {'; '.join(by)}.\n\n"
        parts.append(title + TOP + "\n".join(line(field, (row, cell)) for field in fields))
    return "\n\n".join(parts) + "\n"


def test_the_page_of_columns_is_up_to_date():
    if os.environ.get("GOLDEN") == "write":
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_it_knows_every_study_that_a_job_stores_with_its_columns():
    shown = {s: (cell, row) for _, studies, cell, row in kinds() for s in studies}
    for found in NAMES.values():
        for study, kind in found.items():
            columns = [f"{field.name} {field.type}" for field in schema.schema_of(*shown[study])]
            assert columns == kind["columns"], study


def test_no_shared_text_is_idle():
    said = page()
    assert [name for name, text in SHARED.items() if text not in said] == []
