"""The threat table's command on the paper's networks and a folder of images."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import results

ROOT = Path(__file__).parent.parent
NETWORKS = ("resnetv2_50", "resnetv2_101")


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A cache of the hub, as a download leaves it, with random weights under the true names."""
    cache = tmp_path_factory.mktemp("hub")
    for name in NETWORKS:
        published = timm.get_pretrained_cfg(name)
        model = cache / f"models--timm--{name}.{published.tag}"
        commit = "0" * 40
        (model / "refs").mkdir(parents=True)
        (model / "refs" / "main").write_text(commit)
        (model / "snapshots" / commit).mkdir(parents=True)
        torch.manual_seed(0)
        weights = timm.create_model(name, pretrained=False).state_dict()
        save_file(weights, model / "snapshots" / commit / "model.safetensors")
    return cache


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory) -> Path:
    """A folder like ImageNet's: a thousand classes, two images of each."""
    folder, generator = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for i in range(1000):
        (folder / "val" / f"n{i:08d}").mkdir(parents=True)
        for k in range(2):
            pixels = generator.integers(0, 256, (40, 48, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "val" / f"n{i:08d}" / f"{k}.png")
    return folder


FLAGS = {
    "--model": ["timm:resnetv2_50"], "--surrogate": ["timm:resnetv2_101"], "--side": ["64"],
    "--report-benign": ["6"], "--block": ["6"], "--gray": ["fgsm@2"], "--black": ["tifgsm@8x2"],
    "--white": ["bpda@600x2", "pgd@2x2"], "--eot": ["2"],
    "--defences": ["none", "jpeg75", "shield", "table"],
}  # fmt: skip


def test_the_papers_networks_on_a_folder_of_images(hub, imagenet, tmp_path):
    words = [word for flag, values in FLAGS.items() for word in (flag, *values)]
    words += ["--data", f"imagefolder:{imagenet}", "--here", "--store", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "jobs/threat_table.py", *words], cwd=ROOT, check=False,
        capture_output=True, text=True,
        env=os.environ | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = results.load("threat_table", store=tmp_path)
    assert set(rows["model"].astype(str)) == {"timm:resnetv2_50"}
    assert len(rows) == 6 * 4 * (1 + 1 + 1 + 2)
    networks = results.load("classifier", store=tmp_path)["model"].astype(str)
    assert set(networks) == {f"timm:{name}" for name in NETWORKS}
