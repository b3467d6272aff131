"""What a machine says of its GPU, with torch's answers put in its mouth."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from core.errors import InputError
from search.cluster import card
from search.cluster.examine import Request, check, examine


@pytest.fixture
def gpu(monkeypatch):
    """An A10G whose arithmetic is the CPU's."""
    it = SimpleNamespace(name="NVIDIA A10G", total_memory=24 * 2**30, major=8, minor=6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: it)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90a"])
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch, "arange", partial(here, torch.arange))
    return it


def here(arange, n, *, dtype, device):
    assert device == "cuda"
    return arange(n, dtype=dtype)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_computes_is_told_with_memory_and_capability():
    found = card.look()
    assert found.words.startswith("NVIDIA A10G, 24 GiB, compute capability 8.6, CUDA 13.2, driver")
    assert not found.wrong


@pytest.mark.parametrize(("of", "known"), [("7.0", 0), ("7.5", 1), ("8.9", 1), ("12.0", 0)])
def test_a_gpu_that_this_torch_was_not_built_for_is_named(gpu, of, known):
    gpu.major, gpu.minor = map(int, of.split("."))
    assert ("sm_75 sm_80 sm_90a" in card.look().wrong) != known


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_does_not_compute_is_named(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: uncorrectable ECC error\nCompile with ...")

    monkeypatch.setattr(torch, "arange", fail)
    assert card.look().wrong == "it does not compute: CUDA error: uncorrectable ECC error"
    monkeypatch.setattr(torch, "arange", lambda *_, **__: torch.ones(64))
    assert card.look().wrong == "it computes wrongly: 85344 came out 64"


def test_a_gpu_that_torch_does_not_see_is_no_absent_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(card, "_DEVICE", tmp_path / "nvidia0")
    assert card.look() == card.Card()
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    assert "may be too old for CUDA 13.2" in card.look().wrong
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built for CPUs alone" in card.look().wrong


def test_a_node_with_a_broken_gpu_is_refused_where_cells_run_on_gpus(gpu):
    gpu.major, gpu.minor = 7, 0
    check([examine(Request())], Request())
    with pytest.raises(InputError, match="its GPU: this torch is built for"):
        check([examine(Request())], Request(gpus=True))
