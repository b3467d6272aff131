"""Images of a folder that belong together: by their own table, or by what they look like."""

from pathlib import Path

import numpy as np
import pytest
from opened import fault, picture
from PIL import Image

from core.data import SPLITS, open_data
from results.files import Root
from results.store import Store
from search import Lab
from search.engine.here import Here
from search.flags import HeldOut, parse
from search.inputs.networks import _open_data


def grouped(root: Path) -> dict[str, str]:
    """Ten scenes of one to four images, some of both classes, and one image on its own."""
    random = np.random.default_rng(0)
    groups = {"cat/alone.png": "alone"}
    for scene in range(10):
        for i in range(1 + scene % 4):
            groups[f"{random.choice(['cat', 'dog'])}/{scene}-{i}.png"] = f"scene {scene}"
    for i, name in enumerate(groups):
        picture(root / name, level=i)
    lines = [f"{name},{group}\n" for name, group in groups.items()]
    (root / "groups.csv").write_text("image,group\n" + "".join(lines), encoding="utf-8-sig")
    return groups


@pytest.mark.parametrize("below", ["", "val"])
def test_no_group_of_a_table_falls_into_two_splits(below, tmp_path):
    groups = {str(Path(below) / k): g for k, g in grouped(tmp_path / below).items()}
    if below:
        lines = [f"{name},{group}\n" for name, group in groups.items()]
        (tmp_path / below / "groups.csv").unlink()
        (tmp_path / "groups.csv").write_text("image,group\n" + "".join(lines))
    data = open_data(f"imagefolder:{tmp_path}", side=16)
    assert data.grouped_by == "group"
    held: dict[str, set[str]] = {}
    seen = []
    for split in SPLITS:
        names = [data.name(split, i) for i in range(data.size(split))]
        assert [data.group(split, i) for i in range(len(names))] == [groups[n] for n in names]
        held[split] = {groups[name] for name in names}
        seen += names
    assert sorted(seen) == sorted(groups)
    assert sum(map(len, held.values())) == 11  # each group once
    assert len(held["search"]) in ((5, 6) if below else (2,))


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ("image;group\ncat/0.png;a\n", "found 'image'"),
        ("image,group\ncat/0.png,a\n", "found none for 9 of 10"),
        ("image,group\n" + "".join(f"cat/{i}.png,\n" for i in range(10)), "for 10 of 10"),
    ],
)
def test_a_table_of_groups_that_says_too_little_is_refused(table, hint, tmp_path):
    for name in ("cat", "dog"):
        for i in range(5):
            picture(tmp_path / name / f"{i}.png")
    (tmp_path / "groups.csv").write_text(table)
    fault(hint, f"imagefolder:{tmp_path}")


def test_a_held_out_image_like_one_of_the_search_is_told(tmp_path, capsys):
    root = tmp_path / "images"
    random = np.random.default_rng(0)
    for name, level in (("cat", 0), ("dog", 150)):
        (root / name).mkdir(parents=True)
        for i in range(50):
            pixels = level + random.integers(0, 60, (8, 8, 3), np.uint8)
            own = Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST)
            own.save(root / name / f"{i}.png")
    data = open_data(f"imagefolder:{root}", side=32)
    first = data.name("search", 3)
    second = next(name for i in range(20) if (name := data.name("report", i))[:3] == first[:3])
    words = f"--data imagefolder:{root} --side 32 --model lenet --epochs 4".split()

    def told() -> str:
        _open_data.cache_clear()
        asked = parse(HeldOut, name="", question="", argv=words)
        lab = Lab(Here(Store(Root(tmp_path / "store"))), asked)
        lab.benign(search=20, report=20)
        assert lab.title == f"imagefolder {root.name} 32 px, lenet"
        assert lab.inputs.data == f"imagefolder:{root.name}"  # in rows and names as ever
        return capsys.readouterr().err

    assert "warning" not in told()
    with Image.open(root / first) as shown:
        brighter = shown.point(lambda value: value + 40)
    brighter.save(root / second, compress_level=0)  # of another size, so known to be another
    pair = f"{second} and {first}"
    assert f"1 held-out images look like images of the search, such as {pair}" in told()


def test_some_of_a_networks_classes_are_labelled_by_its_list(tmp_path):
    for name in ("dog", "cat"):
        for i in range(4):
            picture(tmp_path / "val" / name / f"{i}.png", level=i)
            picture(tmp_path / "train" / name / f"{i}.png", level=9 + i)
    plain = open_data(f"imagefolder:{tmp_path}", side=16)
    assert plain.classes == ("cat", "dog")
    (tmp_path / "classes.txt").write_text("zebra\ndog\n\n cat \n", encoding="utf-8-sig")
    data = open_data(f"imagefolder:{tmp_path}", side=16)
    assert data.classes == ("zebra", "dog", "cat")
    for split in SPLITS:
        paths = [data.name(split, i) for i in range(data.size(split))]
        _, labels = data.batch(split, range(len(paths)))
        assert [data.classes[label] for label in labels] == [path.split("/")[1] for path in paths]
    assert data.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("text", "told"),
    [(b"dog\n", "'cat' in no line"), (b"cat\ndog\ncat\n", "'cat' twice"), (b"\xff\n", "UTF-8")],
)
def test_a_list_of_classes_that_does_not_fit_is_refused(tmp_path, text, told):
    for name in ("dog", "cat"):
        for i in range(4):
            picture(tmp_path / name / f"{i}.png", level=i)
    (tmp_path / "classes.txt").write_bytes(text)
    fault(told, f"imagefolder:{tmp_path}", side=16)
