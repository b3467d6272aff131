"""What a column means: the comment behind its field in the class that declares it, or what all say.

docs/columns.md shows them, row files carry them (`description` of a column), the page of a store
shows them over the heads of its tables.
"""

import ast
import inspect
import io
import textwrap
import tokenize
from functools import cache

SHARED = {  # where the class itself says nothing
    "cell_id": "hash of study, version and cell",
    "version": "of the study, raised by hand",
    "commit": 'of the code; "+dirty" when the tree was',
    "versions": '"python=3.11.7 torch=2.15.0 ..."',
    "hardware": "what evaluated the cell",
    "wall_s": "of the whole cell, seconds",
    "host": "name of the machine that evaluated the cell",
    "finished_at": "when, in UTC",
    "data": "data set, as `--data` names it",
    "side": "height and width of the images, pixels",
    "fingerprint": "hash of the data set's content and splits",
    "model": "network, as `--model` names it, and how it was trained where not as usual",
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
ANSWERS = {  # of answers' tables, which are counted from rows
    "accuracy": "right, percent, with its 95 % interval",
    "n": "images counted",
    "acc_benign": "benign images right behind the codec, percent, with its 95 % interval",
    "acc_dec": "points of benign accuracy that the codec costs, with its 95 % interval",
    "def_all": "Def: attacked images right behind the codec, percent, with its 95 % interval",
    "def_successful": "the same of those that fool the undefended network",
    "n_adv": "attacked images",
    "n_successful": "of them that fool the undefended network",
}


def meaning(name: str, owner: type | None = None) -> str:
    """What a column means that a field of `owner` declares; "" where nobody said."""
    for base in owner.__mro__ if owner else ():
        if said := _comments(base).get(name):
            return said
    return (SHARED | ANSWERS).get(name, "")


@cache
def _comments(owner: type) -> dict[str, str]:
    """What stands behind each field in its class's source; nothing where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(owner))
    except (OSError, TypeError):
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    said = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    fields = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AnnAssign)]
    return {ast.unparse(f.target): said[f.end_lineno] for f in fields if f.end_lineno in said}
