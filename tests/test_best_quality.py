"""The defence named as the best at a small price: chosen on one split, told of another."""

import pandas as pd

from results import accuracies, compared
from results.priced import best


def rows(right: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """Of 100 images so many right at eps 0 and at eps 8, behind each defence."""
    out = [
        {"defence": name, "eps_255": eps, "image": i, "label": 1, "predicted": int(i < n)}
        for name, counts in right.items()
        for eps, n in zip((0.0, 8.0), counts, strict=True)
        for i in range(100)
    ]
    return pd.DataFrame(out)


def test_the_best_quality_is_chosen_among_cheap_ones_of_one_split_and_told_of_another():
    chosen = rows({"none": (98, 20), "jpeg10": (90, 80), "jpeg30": (98, 60), "jpeg90": (98, 40)})
    told = rows({"none": (97, 20), "jpeg10": (97, 90), "jpeg30": (95, 50), "jpeg90": (97, 70)})
    by = ["defence", "eps_255"]
    won = compared(told, [("none", name) for name in ("jpeg10", "jpeg30", "jpeg90")], ["eps_255"])
    white = rows({"jpeg10": (97, 91), "jpeg30": (95, 7)})
    kinds = {"FGSM": told, "white": white}
    lines = pd.concat([accuracies(own, by).assign(kind=kind) for kind, own in kinds.items()])
    first, price, left = best(accuracies(chosen, by), won, lines, 1.0)
    assert first.startswith("  eps 8: jpeg30 gains +30 [")
    assert price.startswith("    for -2.0 [")
    assert left == "    7.0 [  3.4,  13.7] % left under white"
    first, *_, masked = best(accuracies(chosen, by), won, lines, 10.0)
    assert first.startswith("  eps 8: jpeg10 ")
    assert masked == "    which is masked: FGSM leaves 90.0 [ 82.6,  94.5]"
    costly = rows({"none": (98, 20), "jpeg10": (90, 80)})
    assert best(accuracies(costly, by), won, lines, 1.0) == ["  none: every quality costs more"]
