"""Images in folders, in every layout."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from opened import everything, fault, imagenet, picture, tiny_imagenet
from PIL import Image
from torchvision import datasets

import results
from core.data import SPLITS, open_data
from core.data.folder import open_folder
from core.errors import InputError
from core.models import read_tensors
from results.files import Root
from search.inputs.networks import Source, _open_data


def test_imagenet_layout_halves_val_class_by_class(tmp_path):
    imagenet(tmp_path)
    data = open_data(f"imagefolder:{tmp_path}", side=32)
    theirs = datasets.ImageFolder(str(tmp_path / "val"))
    label_of = {str(Path(p).relative_to(tmp_path)): label for p, label in theirs.samples}
    assert list(data.classes) == theirs.classes
    seen: list[str] = []
    for split in ("search", "report"):
        labels = everything(data, split)[1]
        names = [data.name(split, i) for i in range(data.size(split))]
        assert labels.tolist() == [label_of[name] for name in names]
        assert torch.bincount(labels).min() >= 2
        seen += names
    assert sorted(seen) == sorted(label_of)
    assert data.size("train") == 9
    assert all(data.name("train", i).startswith("train/") for i in range(9))
    assert data.batch("train", range(9))[0].shape == (9, 3, 32, 32)


def test_a_changed_folder_changes_the_fingerprint(tmp_path):
    imagenet(tmp_path)
    first = open_data(f"imagefolder:{tmp_path}", side=32).fingerprint
    assert first == open_data(f"imagefolder:{tmp_path}", side=32).fingerprint
    assert first != open_data(f"imagefolder:{tmp_path}", side=32, seed=1).fingerprint
    picture(tmp_path / "train" / "n01" / "0.JPEG", (90, 90))
    assert first != open_data(f"imagefolder:{tmp_path}", side=32).fingerprint


GOLDEN = {
    "plain": "1877732190311d560d7338bd5cc212638efc37d37a15fc42a03a842e1d28a245",
    "net": "48d3b3afc377fcf8fa3e13df7125ee158f4a4f487e2780c9eeb51c27aeaabfea",
}  # stored rows are found again by these


def test_a_fingerprint_is_for_ever(tmp_path):
    for name, count in (("cat", 9), ("dog", 7)):
        for i in range(count):
            for file, n_bytes in (
                (tmp_path / "plain" / name / f"{i}.jpg", i + 1),
                (tmp_path / "net" / "train" / name / "deep" / f"{i}.PNG", i + 2),
                (tmp_path / "net" / "val" / name / "deep" / f"{i}.PNG", i + 2),
            ):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"x" * n_bytes)
    for folder, golden in GOLDEN.items():
        data = open_data(f"imagefolder:{tmp_path / folder}", side=32, seed=3)
        assert data.fingerprint == golden


def test_val_alone_leaves_training_empty(tmp_path):
    imagenet(tmp_path, n_train=0)
    data = open_data(f"imagefolder:{tmp_path}", side=32)
    assert [data.size(split) for split in SPLITS] == [0, 8, 7]
    assert data.batch("train", [])[0].shape == (0, 3, 32, 32)


def test_tiny_imagenet_reads_its_annotations(tmp_path):
    tiny_imagenet(tmp_path)
    data = open_data(f"imagefolder:{tmp_path}", side=64)
    assert data.classes == ("n5", "n7")
    assert [data.size(split) for split in SPLITS] == [2, 4, 4]
    for split in ("search", "report"):
        for i, label in enumerate(everything(data, split)[1]):
            assert f"/val_{1 - label}" in data.name(split, i)
    (tmp_path / "val" / "images" / "val_00.JPEG").unlink()
    fault("unpack", f"imagefolder:{tmp_path}")


def test_plain_layout_divides_60_20_20(tmp_path):
    for name in ("cat", "dog"):
        for i in range(10):
            picture(tmp_path / name / f"{i}.jpg")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    data = open_data(f"imagefolder:{tmp_path}", side=16)
    names = {s: {data.name(s, i) for i in range(data.size(s))} for s in SPLITS}
    assert [len(names[split]) for split in SPLITS] == [12, 4, 4]
    assert len(set.union(*names.values())) == 20
    assert [torch.bincount(everything(data, s)[1]).tolist() for s in SPLITS] == [
        [6, 6],
        [2, 2],
        [2, 2],
    ]


def test_unusable_folders_say_what_is_wrong(tmp_path):
    fault("takes a folder", f"imagefolder:{tmp_path / 'nothing'}")
    fault("class folders", f"imagefolder:{tmp_path}")
    picture(tmp_path / "one" / "a.png")
    fault("found 1", f"imagefolder:{tmp_path}")
    (tmp_path / "two").mkdir()
    fault(str(tmp_path / "two"), f"imagefolder:{tmp_path}")
    picture(tmp_path / "two" / "b.png")
    fault("too few", f"imagefolder:{tmp_path}")
    fault("8..1024", f"imagefolder:{tmp_path}", side=0)
    imagenet(tmp_path / "net")
    picture(tmp_path / "net" / "val" / "n99" / "b.png")
    fault("n99", f"imagefolder:{tmp_path / 'net'}")
    imagenet(tmp_path / "half", n_val=0)
    fault("60/20/20", f"imagefolder:{tmp_path / 'half'}")


def test_a_corrupt_file_is_named(tmp_path):
    imagenet(tmp_path)
    data = open_data(f"imagefolder:{tmp_path}", side=32)
    name = data.name("search", 2)
    random = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(random).save(whole, "png")
    for content in (whole.getvalue()[:-2000], b"", b"not an image"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            data.batch("search", [0, 2])


# ---- which folders are classes


def flat(root: Path, *names: str, n: int = 5) -> str:
    for name in names:
        for i in range(n):
            picture(root / name / f"{i}.png", level=10 * i)
    return f"imagefolder:{root}"


@pytest.mark.parametrize(
    "names",
    [
        ("training", "validation", "test"),
        ("Train", "Val"),
        ("train_set", "val_set"),
        ("valid", "test"),
        ("seg_train", "seg_test", "seg_pred"),
        ("train2017", "val2017"),
        ("Training Data", "Testing Data", "sample"),
        ("trainset", "testset"),
    ],
)
@pytest.mark.parametrize("below", ["", "/cat", "/dog"])
def test_splits_are_not_taken_for_classes(names, below, tmp_path):
    spec = flat(tmp_path, *(name + below for name in names), n=1)
    assert "call them train and val" in fault("looks like splits", spec)


@pytest.mark.parametrize(
    "names",
    [
        ("bus", "car", "train"),
        ("bus", "car", "val"),
        ("valid", "invalid"),
        ("freight_train", "passenger_train", "tram"),
        ("protest", "retrain", "devil"),
    ],
)
def test_a_class_may_be_called_as_one_split_is(names, tmp_path):
    assert open_data(flat(tmp_path, *names), side=16).classes == tuple(sorted(names))


def test_train_without_val_says_what_is_there(tmp_path):
    spec = flat(tmp_path, "train/cat", "train/dog", "valid/cat", "valid/dog")
    assert "found valid" in fault("a link called val", spec)


# ---- what lies in folders beside images


def test_what_systems_leave_behind_is_no_part_of_the_data(tmp_path):
    spec = flat(tmp_path, "cat", "dog")
    clean = open_data(spec, side=16)
    for name in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information"):
        picture(tmp_path / name / "a.png")
        picture(tmp_path / "cat" / name / "b.png")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "~$c.png", "._d.png"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    assert open_data(spec, side=16).classes == ("cat", "dog")
    assert open_data(spec, side=16).fingerprint == clean.fingerprint


def test_nobody_is_told_to_delete_anything(tmp_path):
    spec = flat(tmp_path, "cat", "dog")
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "a.heic").write_bytes(b"x")
    (tmp_path / "cat" / "0.png").write_bytes(b"x")
    said = [fault("1 files of other kinds, such as owl/a.heic", spec)]
    picture(tmp_path / "owl" / "b.png")
    with pytest.raises(InputError, match=r"cat/0\.png") as caught:
        [everything(open_data(spec, side=16), split) for split in SPLITS]
    for text in (*said, str(caught.value)):
        assert not {"remove", "delete"} & set(text.lower().replace(".", " ").split())


# ---- links, rights, names


def test_links_to_files_and_folders_are_followed(tmp_path):
    flat(tmp_path / "elsewhere", "a", "b")
    (tmp_path / "images").mkdir()
    for name, target in (("cat", "a"), ("dog", "b")):
        (tmp_path / "images" / name).symlink_to(tmp_path / "elsewhere" / target)
    (tmp_path / "images" / "cat" / "more.png").symlink_to(tmp_path / "elsewhere" / "b" / "0.png")
    data = open_data(f"imagefolder:{tmp_path / 'images'}", side=16)
    assert sum(data.size(split) for split in SPLITS) == 11


@pytest.mark.parametrize(
    ("place", "target", "message"),
    [
        ("cat/z.png", "/nowhere/z.png", "a link to /nowhere/z.png, which is not there"),
        ("cat/part", "/nowhere/part", "a link to /nowhere/part, which is not there"),
        ("owl", "/nowhere/owl", "a link to /nowhere/owl, which is not there"),
        ("cat/self.png", "self.png", "self.png"),
        ("cat/loop", "..", "to be the same"),
        ("cat/loop", ".", "to be the same"),
        ("cat/deep/loop", "../../dog", "to be the same"),
        ("owl", "dog", "to be the same"),
    ],
)
def test_links_that_lead_nowhere_or_twice_to_one_place_are_named(place, target, message, tmp_path):
    spec = flat(tmp_path, "cat", "cat/deep", "dog")
    (tmp_path / place).symlink_to(target)
    with pytest.raises(InputError, match=r"^(cannot read|expected)") as caught:
        open_data(spec, side=16)
    assert message in str(caught.value)
    assert place in str(caught.value)


def test_validation_images_that_are_the_training_images_are_refused(tmp_path):
    imagenet(tmp_path, n_val=0)
    (tmp_path / "val").symlink_to("train")
    with pytest.raises(InputError, match="to be the same"):
        assert open_folder(tmp_path, side=16).fingerprint


def test_what_is_no_file_and_what_may_not_be_read_is_named(tmp_path, monkeypatch):
    spec = flat(tmp_path, "cat", "dog")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png: a pipe"):
        open_data(spec, side=16)
    (tmp_path / "cat" / "pipe.png").unlink()
    own = os.listdir
    for place in ("cat", "dog", ""):

        def refuse(path, closed=tmp_path / place):
            if Path(path) == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return own(path)

        monkeypatch.setattr(os, "listdir", refuse)
        with pytest.raises(InputError, match=f"cannot read {tmp_path / place}: Permission denied"):
            open_data(spec, side=16)


def test_names_of_other_encodings_and_nul_are_refused(tmp_path):
    spec = flat(tmp_path, "cat", "dog")
    Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/\xff.png")).touch()
    with pytest.raises(InputError, match=r"UTF-8, found .*cat/\\xff.png"):
        open_data(spec, side=16)
    with pytest.raises(InputError, match="NUL"):
        open_data(f"{spec}\0x", side=16)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (Path("s3://bucket/folder"), "s3://bucket/folder?"),
        ("s3:/bucket/folder", "s3://bucket/folder?"),
        ("S3:bucket/folder", "s3://bucket/folder?"),
        ("gs:/bucket", "gs://bucket?"),
        ("memory:/folder", "memory://folder?"),
        ("file:/data/x", "mean /data/x?"),
        ("file:data", "mean /data?"),
        ("s3:/me:s3cret@bucket/folder", "bucket/folder?"),
    ],
)
def test_a_uri_that_lost_a_slash_is_no_local_folder(path, meant):
    for call in (
        lambda: open_data(f"imagefolder:{path}"),
        lambda: open_data("mnist", root=path),
        lambda: read_tensors(path),
        lambda: Root(path),
        lambda: results.load("study", store=path),
    ):
        with pytest.raises(ValueError, match="did you mean") as caught:
            call()
        assert meant in str(caught.value)
        assert "s3cret" not in str(caught.value)


def test_paths_with_colons_stay_paths(tmp_path):
    for name in ("a:b", "12:30", "x:"):
        flat(tmp_path / name, "cat", "dog")
        assert open_data(f"imagefolder:{tmp_path / name}", side=16).size("train")
        assert Root(tmp_path / name).is_local
    spaced = Root(f"file://{tmp_path}/a b ä")
    spaced.write("rows/x", b"x")
    assert spaced.is_local
    assert (tmp_path / "a b ä" / "rows" / "x").read_bytes() == b"x"


def test_a_worker_that_sees_other_images_than_the_driver_says_so(tmp_path):
    spec = flat(tmp_path, "cat", "dog", n=10)
    fields = dict.fromkeys(Source.__dataclass_fields__) | {"data": spec, "side": 16, "seed": 0}
    source = Source(**fields | {"download": False, "digests": ()}).seen()
    _open_data.cache_clear()  # as in another process
    for split in SPLITS:
        assert source.open(split).size(split)
    lost = source.open().name("search", 0)
    (tmp_path / lost).write_bytes((tmp_path / lost).read_bytes() + b"x")
    _open_data.cache_clear()
    assert source.open("report").size("report") == 4
    with pytest.raises(InputError, match=r"search images .* as the driver sees them"):
        source.open("search")
    (tmp_path / lost).unlink()
    _open_data.cache_clear()
    with pytest.raises(InputError, match="as the driver sees them"):
        source.open("search")
    assert (
        Source(**fields | {"data": "digits", "side": None, "download": False, "digests": ()})
        .seen()
        .digests
        == ()
    )
