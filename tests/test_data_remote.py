"""Image folders behind a URI: the same data set as on a disk, and the same errors in words."""

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from opened import everything, fault, imagenet, picture, plain, tiny_imagenet, val_alone

from core.data import SPLITS, open_data, remote, unreachable
from core.data.folder import open_folder
from core.errors import InputError
from search.inputs.networks import data_label


@pytest.fixture
def copied(tmp_path) -> Iterator[Callable[[Path], str]]:
    """Copies a folder into memory; the copy's URI, whose last part is the folder's name."""
    memory, top = fsspec.filesystem("memory"), f"/{tmp_path.name}"

    def copy(folder: Path) -> str:
        for path in folder.rglob("*"):
            target = f"{top}/{path.relative_to(tmp_path)}"
            if path.is_dir():
                memory.makedirs(target, exist_ok=True)
            else:
                memory.pipe_file(target, path.read_bytes())
        return f"memory:/{top}/{folder.relative_to(tmp_path)}"

    yield copy
    if memory.exists(top):
        memory.rm(top, recursive=True)


@pytest.fixture
def asked(monkeypatch) -> dict[str, list[str]]:
    """What the file system in memory is asked from now on: verb -> paths."""
    calls: dict[str, list[str]] = {}
    for verb in ("ls", "find", "cat_file", "info", "exists", "isdir", "size", "created"):
        noted, own = calls.setdefault(verb, []), getattr(MemoryFileSystem, verb)

        def ask(self, path, *args, _own=own, _noted=noted, **kwargs):
            _noted.append(path)
            return _own(self, path, *args, **kwargs)

        monkeypatch.setattr(MemoryFileSystem, verb, ask)
    return calls


@pytest.fixture
def failing(monkeypatch) -> Callable[[str, list[Exception]], None]:
    """Lets a verb of the file system in memory fail with each of some errors, one a call."""
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0))

    def fail(verb: str, errors: list[Exception]) -> None:
        own = getattr(MemoryFileSystem, verb)

        def ask(self, path, *args, **kwargs):
            if errors:
                raise errors.pop(0)
            return own(self, path, *args, **kwargs)

        monkeypatch.setattr(MemoryFileSystem, verb, ask)

    return fail


@pytest.mark.parametrize("layout", [imagenet, val_alone, tiny_imagenet, plain])
def test_a_folder_behind_a_uri_is_the_same_data_set(layout, tmp_path, copied, monkeypatch):
    layout(tmp_path / "images")
    own = MemoryFileSystem.find  # a store may list in an order of its own
    monkeypatch.setattr(
        MemoryFileSystem, "find", lambda *a, **k: dict(reversed(own(*a, **k).items()))
    )
    here = open_data(f"imagefolder:{tmp_path / 'images'}", side=16, seed=5)
    there = open_data(f"imagefolder:{copied(tmp_path / 'images')}", side=16, seed=5)
    assert there.fingerprint == here.fingerprint
    assert there.classes == here.classes
    for split in SPLITS:
        assert there.size(split) == here.size(split)
        for i in range(here.size(split)):
            assert there.name(split, i) == here.name(split, i)
        torch.testing.assert_close(everything(there, split), everything(here, split))
    assert pickle.loads(pickle.dumps(there)).fingerprint == here.fingerprint
    assert data_label(there.spec) == data_label(here.spec) == "imagefolder:images"


def test_each_folder_is_listed_once_and_training_only_when_it_is_used(tmp_path, copied, asked):
    imagenet(tmp_path / "images")
    uri = copied(tmp_path / "images")
    for noted in asked.values():
        noted.clear()
    data = open_folder(uri, side=16)
    data.batch("search", range(data.size("search")))
    base = uri.removeprefix("memory:/")
    assert asked["find"] == [f"{base}/val"]
    for split in SPLITS:
        everything(data, split)
    assert len(data.fingerprint) == 64
    assert asked["find"] == [f"{base}/val", f"{base}/train"]
    assert sorted(asked["ls"]) == [base, f"{base}/train", f"{base}/val"]
    n_images = sum(data.size(split) for split in SPLITS)
    assert len(asked["cat_file"]) == n_images + data.size("search")
    for verb in ("info", "exists", "isdir", "size", "created"):
        assert not asked[verb]


def test_images_are_read_many_at_a_time(tmp_path, copied, monkeypatch):
    plain(tmp_path / "images")
    data = open_data(f"imagefolder:{copied(tmp_path / 'images')}", side=16)
    together, own = threading.Barrier(10, timeout=20), MemoryFileSystem.cat_file

    def read(self, path, **kwargs):
        together.wait()
        return own(self, path, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", read)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert len(data.batch("train", range(10))[0]) == 10


def empty_class(root: Path) -> None:
    plain(root)
    (root / "empty").mkdir()


def hidden_class(root: Path) -> None:
    plain(root)
    picture(root / "shy" / ".hidden.png")


def one_class(root: Path) -> None:
    picture(root / "one" / "a.png")


def too_few(root: Path) -> None:
    one_class(root)
    picture(root / "two" / "b.png")


def no_val(root: Path) -> None:
    picture(root / "train" / "n01" / "b.png")


def other_classes(root: Path) -> None:
    imagenet(root)
    picture(root / "val" / "n99" / "b.png")


def lost_image(root: Path) -> None:
    tiny_imagenet(root)
    (root / "val" / "images" / "val_00.JPEG").unlink()


def no_lines(root: Path) -> None:
    tiny_imagenet(root)
    (root / "val" / "val_annotations.txt").write_text("\n")


def a_file(root: Path) -> None:
    root.write_bytes(b"an archive")


def nothing(_root: Path) -> None:
    pass


@pytest.mark.parametrize(
    "broken",
    [empty_class, hidden_class, one_class, too_few, no_val, other_classes, lost_image, no_lines,
     a_file, nothing],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_said_in_the_same_words(broken, tmp_path, copied):
    folder = tmp_path / "images"
    broken(folder)
    uri = copied(folder)
    if folder.is_file():
        fsspec.filesystem("memory").pipe_file(uri.removeprefix("memory:/"), folder.read_bytes())
    here, there = (fault("", f"imagefolder:{place}", side=16) for place in (folder, uri))
    assert there == here.replace(str(folder), uri)
    assert uri in there


def test_a_damaged_image_is_named_in_the_same_words(tmp_path, copied):
    plain(tmp_path / "images")
    whole = (tmp_path / "images/cat/00.PNG").read_bytes()
    for content in (whole[:-30], b"", b"not an image"):
        (tmp_path / "images/cat/00.PNG").write_bytes(content)
        said = []
        for place in (str(tmp_path / "images"), copied(tmp_path / "images")):
            data = open_data(f"imagefolder:{place}", side=16)
            with pytest.raises(InputError, match=r"cat/00\.PNG") as caught:
                [everything(data, split) for split in SPLITS]
            said.append(str(caught.value).replace(place, "PLACE"))
        assert said[0] == said[1]


def test_an_image_that_is_gone_is_named(tmp_path, copied):
    plain(tmp_path / "images")
    uri = copied(tmp_path / "images")
    data = open_data(f"imagefolder:{uri}", side=16)
    fsspec.filesystem("memory").rm(f"{uri.removeprefix('memory:/')}/{data.name('search', 1)}")
    with pytest.raises(InputError, match=f"{uri}/{data.name('search', 1)}, got: it is not there"):
        everything(data, "search")


def test_a_read_is_tried_three_times_and_then_named(tmp_path, copied, failing):
    plain(tmp_path / "images")
    uri = copied(tmp_path / "images")
    data = open_data(f"imagefolder:{uri}", side=16)
    expected = data.batch("search", [1])
    lost = "cut off: https://user:s3cret@host/a.png?X-Amz-Signature=s3cret for a minute"
    failing("cat_file", [OSError(lost), ValueError(lost)])
    torch.testing.assert_close(data.batch("search", [1]), expected)
    failing("cat_file", [OSError(lost)] * 3)
    with pytest.raises(InputError) as caught:
        data.batch("search", [1])
    said = str(caught.value)
    assert f"{uri}/{data.name('search', 1)}, got in 3 tries: OSError: cut off" in said
    assert "for a minute\nHint: " in said
    assert "s3cret" not in said


def test_a_lacking_permission_is_said_at_once(tmp_path, copied, failing):
    plain(tmp_path / "images")
    uri = copied(tmp_path / "images")
    for verb in ("ls", "find"):
        failing(verb, [PermissionError("Access Denied")])
        assert "no permission: Access Denied" in fault("credentials", f"imagefolder:{uri}")
    data = open_data(f"imagefolder:{uri}", side=16)
    failing("cat_file", [PermissionError("Access Denied")])
    with pytest.raises(InputError, match=f"{uri}/.*no permission"):
        data.batch("search", [1])


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://bucket/images", "gcsfs"),
        ("nonsense://bucket/images", "nonsense"),
        ("s3://AKIAME:s3cret@bucket/images", "without password"),
        ("s3://AKIAME:s3cr/et@bucket/images", "without password"),
        ("zip://a::ftp://me:s3cret@host/images.zip", "without password"),
        ("https://host/images?signature=s3cret", "without '?'"),
    ],
)
def test_a_uri_that_cannot_be_opened_says_why_and_no_secret(uri, message):
    said = fault(message, f"imagefolder:{uri}")
    for secret in ("s3cret", "s3cr", "et@", "AKIAME"):
        assert secret not in said
    assert message in unreachable(uri)
    assert "s3cret" not in unreachable(uri)


def test_a_listing_without_sizes_has_no_fingerprint(tmp_path, copied, monkeypatch):
    plain(tmp_path / "images")
    own = MemoryFileSystem.find
    monkeypatch.setattr(
        MemoryFileSystem, "find",
        lambda *a, **k: {p: i | {"size": None} for p, i in own(*a, **k).items()},
    )  # fmt: skip
    data = open_folder(copied(tmp_path / "images"), side=16)
    with pytest.raises(InputError, match="expected sizes"):
        assert data.fingerprint


def test_a_node_that_cannot_list_or_read_says_so(tmp_path, copied, failing, monkeypatch):
    imagenet(tmp_path / "images")
    uri = copied(tmp_path / "images")
    assert unreachable(uri) == ""
    assert "found nothing" in unreachable(f"{uri}/nowhere")
    assert "found a file" in unreachable(f"{uri}/val/n01/v0.png")
    failing("cat_file", [PermissionError("Access Denied")])
    assert unreachable(uri).endswith("train/n01/0.JPEG, got no permission: Access Denied")
    failing("ls", [OSError("no route to host")])
    assert unreachable(uri) == f"expected to read {uri}, got: OSError: no route to host"
    monkeypatch.setattr(MemoryFileSystem, "ls", lambda *_a, **_k: time.sleep(0.5) or [])
    monkeypatch.setattr(remote, "PROBE_S", 0.1)
    assert unreachable(uri) == f"expected to read {uri}, got no answer in 0.1 s"


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ("digits", "digits"),
        ("imagefolder:/data/imagenet/", "imagefolder:imagenet"),
        ("imagefolder:s3://bucket/data/imagenet/", "imagefolder:imagenet"),
        ("imagefolder:s3://KEY:SECRET@bucket/imagenet?token=x", "imagefolder:imagenet"),
        ("imagefolder:s3://KEY:SECRET@bucket", "imagefolder:bucket"),
        ("imagefolder:zip://::s3://bucket/imagenet.zip", "imagefolder:imagenet.zip"),
    ],
)
def test_rows_name_the_last_part_of_a_uri(spec, label):
    assert data_label(spec) == label
