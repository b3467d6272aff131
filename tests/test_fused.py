"""The codec's kernel without a card: interpreted against the plain way, and built for real ones."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from core.codec import fused

pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parents[1]
INTERPRETED = """
import torch
from core import codec
from core.codec import fused, qtable

tables = ["k3-of16-af116", "ijg75", "ijg1", "uniform1", "uniform3"]
steps = torch.stack([qtable.by_name(name) for name in tables])
for n, channels, height, width in ((2, 3, 32, 32), (3, 1, 13, 21), (1, 3, 8, 70)):
    images = torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8)
    images[0] = images[0] // 255 * 255  # far beyond the levels after coarse tables
    pair = torch.randperm(n * len(tables))
    given = (codec.coefficients(images), steps, pair // len(tables), pair % len(tables))
    made, plain = (make(*given, (height, width)) for make in (fused.launched, fused.plain))
    print(made.shape == plain.shape and torch.equal(made, plain))
"""
BUILT = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from core.codec import fused, kernel

types = ["*fp64", "*fp64", "*i64", "*i64", "*fp64", "*fp32"] + ["i32"] * 5 + ["constexpr"]
kinds = dict(zip(kernel.decode.arg_names, types, strict=True))
for capability in (80, 86, 90):
    source = ASTSource(kernel.decode, kinds, constexprs={"n_at_once": fused._BLOCKS})
    target = GPUTarget("cuda", capability, 32)
    print("cubin" in compile(source, target=target, options={"enable_fp_fusion": False}).asm)
"""


def said(program: str, **more: str) -> list[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)} | more
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_kernel_makes_the_pictures_of_the_plain_codec():
    assert said(INTERPRETED, TRITON_INTERPRET="1") == ["True"] * 3


def test_the_kernel_is_built_for_cards_without_one(tmp_path):
    assert said(BUILT, TRITON_CACHE_DIR=str(tmp_path)) == ["True"] * 3


@pytest.mark.parametrize("fault", ["wrong", "raises"])
def test_where_the_kernel_does_not_serve_the_plain_codec_does_and_it_is_said(fault, monkeypatch):
    def launched(*given):
        if fault == "raises":
            raise RuntimeError("Failed to find C compiler")
        return fused.plain(*given) + 1 / 255

    monkeypatch.setattr(fused, "launched", launched)
    why = "other pictures" if fault == "wrong" else "RuntimeError: Failed to find C compiler"
    with pytest.warns(UserWarning, match=why):
        assert not fused._builds.__wrapped__(torch.device("cpu"))
    monkeypatch.setattr(fused, "launched", fused.plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fused._builds.__wrapped__(torch.device("cpu"))
