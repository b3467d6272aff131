"""Image folders on s3://, served by moto on this machine."""

import contextlib
import logging
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from opened import everything, fault, picture

import results
from core.data import SPLITS, open_data, remote, unreachable
from search.inputs.networks import data_label

ROOT = Path(__file__).resolve().parent.parent
URI = "s3://images/sets/colours"
SECRET = "s3cret-key"
FLAGS = [
    "--model", "lenet", "--epochs", "2", "--side", "32", "--benign", "8", "--report-benign", "8",
    "--adversarial", "2", "--report-adversarial", "2", "--patterns", "1", "--qs-af", "1",
    "--block", "8", "--eps-255", "16", "--max-decline", "100",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Like ImageNet's, three classes that even two epochs tell apart."""
    folder = tmp_path_factory.mktemp("s3") / "colours"
    for name, level in (("dark", 0), ("half", 120), ("light", 250)):
        for split, n_images in (("train", 30), ("val", 6)):
            for i in range(n_images):
                picture(folder / split / name / f"{i}.png", (32 + i, 32), level=level + i % 5)
    return folder


@pytest.fixture(scope="module")
def endpoint(folder) -> Iterator[str]:
    """A bucket with a copy of the folder, and objects that mark folders as some tools make them."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3", "us-east-1", endpoint_url=address, aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket="images")
    for path in folder.rglob("*"):
        key = f"sets/colours/{path.relative_to(folder)}"
        if path.is_dir():
            client.put_object(Bucket="images", Key=f"{key}/", Body=b"")
        else:
            client.put_object(Bucket="images", Key=key, Body=path.read_bytes())
    client.put_object(Bucket="images", Key="sets/colours/", Body=b"")
    client.put_object(Bucket="images", Key="sets/colours2/other/0.png", Body=b"")
    yield address
    server.stop()


@pytest.fixture(autouse=True)
def environment(endpoint, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "AKIAME", "AWS_MAX_ATTEMPTS": "1",
        "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0))


def test_a_bucket_is_the_same_data_set(folder):
    here = open_data(f"imagefolder:{folder}", side=32)
    there = open_data(f"imagefolder:{URI}/", side=32)
    assert there.fingerprint == here.fingerprint
    for split in SPLITS:
        images, labels = everything(there, split)
        expected, expected_labels = everything(here, split)
        assert images.equal(expected)
        assert labels.equal(expected_labels)
    assert unreachable(URI) == ""


def test_an_empty_class_of_a_bucket_is_named(endpoint):
    client = boto3.client("s3", endpoint_url=endpoint)
    for key in ("one/a.png", "two/"):
        client.put_object(Bucket="images", Key=f"empty/{key}", Body=b"")
    fault("expected images in s3://images/empty/two", "imagefolder:s3://images/empty")


@contextlib.contextmanager
def strict(endpoint: str) -> Iterator[None]:
    """Until the end, moto refuses all keys, for none is known to it."""

    def allow(n_requests: str) -> None:
        request = urllib.request.Request(
            f"{endpoint}/moto-api/reset-auth", data=n_requests.encode(), method="POST",
            headers={"Content-Type": "text/plain"},
        )  # fmt: skip
        urllib.request.urlopen(request).close()

    allow("0")
    try:
        yield
    finally:
        allow("inf")


def test_trouble_with_a_bucket_is_said_without_secrets(endpoint, monkeypatch):
    said = [fault("found nothing", f"imagefolder:{uri}") for uri in (f"{URI}x", "s3://nowhere/x")]
    said += [fault("found a file", f"imagefolder:{URI}/val/dark/0.png")]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        said += [fault("in 3 tries: EndpointConnectionError", f"imagefolder:{URI}")]
        said += [unreachable(URI)]
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        said += [fault("NoCredentialsError", f"imagefolder:{URI}")]
    with strict(endpoint):
        said += [fault("no permission", f"imagefolder:{URI}"), unreachable(URI)]
        assert "no permission" in said[-1]
    for text in said:
        assert SECRET not in text
        assert "AKIAME" not in text


def search(place: str, store: Path, *flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "jobs/qtable_search.py"), *FLAGS, *flags]
    return subprocess.run(
        [*command, "--data", f"imagefolder:{place}", "--store", str(store)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_search_on_a_bucket_is_answered_by_its_rows_for_the_local_copy(folder, tmp_path):
    done = search(URI, tmp_path)
    assert done.returncode == 0, done.stderr
    rows = results.load("qtable_search", store=tmp_path)
    assert set(rows["data"].astype(str)) == {data_label(f"imagefolder:{folder}")}
    again = search(str(folder), tmp_path, "--here")
    assert again.returncode == 0, again.stderr
    assert "table search: 0 cells run" in again.stderr
    assert again.stdout == done.stdout
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert SECRET not in done.stdout + done.stderr
