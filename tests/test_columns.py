"""docs/columns.md says what every column is, in the words of the classes that declare it.

GOLDEN=write writes the page anew.
"""

import importlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import stored

import results
from results import schema
from results.columns import SHARED
from results.files import Root
from results.store import Store

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "columns.md"
NAMES = json.loads((ROOT / "tests" / "golden" / "names.json").read_text())
SCORES = (
    "ablation",
    "adversarial_training_2",
    "augmented_threats",
    "color_space_2",
    "ensemble_white",
    "jpeg_fgsm",
    "member_matrix",
    "threat_table",
    "train_chain",
)
KINDS = {  # what a row is; the studies, the module, its cell and row
    "one image before one victim, of every study that scores": (SCORES, "scores", "Cell", "Row"),
    "one image before one victim under one draw": (
        ("threat_draws",),
        "scores",
        "DrawnCell",
        "DrawnRow",
    ),
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
    "one pass that made a universal change through a defence": (
        ("universal_through",),
        "measures.universal",
        "ThroughCell",
        "MakeRow",
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
    "one epoch of a denoiser": (("denoiser",), "inputs.denoisers", "TrainCell", "TrainRow"),
    "one epoch of a learned codec": (("codec",), "inputs.codecs", "CodecCell", "CodecRow"),
    "one image behind a codec": (("rate_distortion",), "measures.compressed", "Cell", "Row"),
    "one image, noisy or denoised": (("denoise",), "measures.denoised", "Cell", "Row"),
    "one image before a network of transformed training images": (
        ("compressed_training", "corruption_robustness", "augmentation_tune"),
        "measures.augmented",
        "Cell",
        "Row",
    ),
    "one image before such a network behind a defence": (
        ("corruption_defended",),
        "measures.augmented",
        "DefendedCell",
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
    "bank: one image, in order of margins behind a codec": (
        ("ordered",),
        "inputs.images",
        "OrderedCell",
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
    "qtable_search": {"qtable_report", "frequency_analysis", "ordered"},
    "jpeg_fgsm": {"rates"},
    "threat_table": {"threat_draws"},
    "corruption_robustness": {"corruption_defended"},
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


def about(field) -> str:
    return field.metadata[b"description"].decode()


def line(field) -> str:
    kind = {"dictionary": "text", "double": "float64"}
    bare = str(field.type).partition("<")[0]
    null = ", or null" if field.nullable else ""
    return f"| `{field.name}` | {kind.get(bare, bare)}{null} | {about(field)} |"


HEAD = """# Columns

What the files of rows hold, `<store>/rows/study=STUDY/sweep=SWEEP/*.parquet`; for whoever reads a
folder `study` and `sweep` are columns too. Outcomes and counts, never ratios. This page is made
from the classes that declare the columns, by `GOLDEN=write pytest tests/test_columns.py`.

## Every row

"""
TOP = "| column | type | |\n|---|---|---|\n"


def page() -> str:
    common = {field.name for field in schema.PROVENANCE}
    parts = [HEAD + TOP + "\n".join(line(field) for field in schema.PROVENANCE)]
    for what, studies, cell, row in kinds():
        fields = [f for f in schema.schema_of(cell, row) if f.name not in common]
        by = [f"`{study}`, by {', '.join(jobs_of(study))}" for study in studies]
        title = f"## {what[0].upper()}{what[1:]}\n\nStudy {'; '.join(by)}.\n\n"
        parts.append(title + TOP + "\n".join(line(field) for field in fields))
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


def test_files_of_rows_say_what_columns_mean_and_go_with_those_that_do_not(tmp_path):
    store, (told, plain) = Store(Root(tmp_path)), map(stored.rows_of, (0, 1))
    bare = pa.schema([field.remove_metadata() for field in plain.schema], plain.schema.metadata)
    store.write("s", "w", told)
    store.write("s", "w", plain.cast(bare))
    kinds = [pq.read_schema(path) for path in sorted(tmp_path.rglob("*.parquet"))]
    said = [(kind.field("image").metadata or {}).get(b"description") for kind in kinds]
    assert sorted(said, key=bool) == [None, b"id within the split"]
    assert len(stored.done(store)[0]) == 2
    rows = results.load("s", sweep="w", store=tmp_path)
    assert store.compact("s", "w") == 2
    again = results.load("s", sweep="w", store=tmp_path)
    assert rows.sort_values("cell_id").equals(again.sort_values("cell_id"))
