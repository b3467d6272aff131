"""Flags and inputs that the table search cannot use are named before anything runs."""

import pytest

from jobs import qtable_search
from search import main
from search.engine.engine import Engine

BAD = [
    (["--data", "imagenet"], "expected data among"),
    (["--data", "imagefolder:/nowhere"], "/nowhere"),
    (["--data", "imagefolder:memory://nowhere"], "memory://nowhere, found nothing"),
    (["--data", "imagefolder:gs://bucket/x"], "gcsfs"),
    (["--data", "photos", "--side", "33"], "side"),
    (["--data", "mnist", "--data-root", "/nowhere"], "--download"),
    (["--model", "resnet_unknown"], "resnet_unknown"),
    (["--model", "checkpoint:/nowhere.safetensors"], "/nowhere.safetensors"),
    (["--model", "resnet18", "--epochs", "3"], "--epochs"),
    (["--qs-af", "0-10/5"], "1..255"),
    (["--qs-af", "250-300/10"], "1..255"),
    (["--qs-of", "256"], "1..255"),
    (["--patterns", "0-3"], "1..15"),
    (["--patterns", "3-1"], "empty range"),
    (["--qs-af", "1-99999999999"], "at most 10000 numbers"),
    (["--patterns", "a"], "expected numbers like"),
    (["--benign", "601"], "1..600"),
    (["--report-benign", "401"], "1..400"),
    (["--benign", "0"], "above 0"),
    (["--benign", "2000000000"], "a whole number of at most 1000000000, got"),
    (["--learning-rate", "1e400"], "a number of at most 1000000000, got"),
    (["--eps-255", "-1"], "at least 0"),
    (["--eps-255", "256"], "0..255"),
    (["--eps-255", "nan"], "expected a number"),
    (["--attack", "fgsm", "--attack-steps", "5"], "one step"),
    (["--attack", "ifgsm", "--restarts", "5"], "restarts"),
    (["--attack", "fgsn"], "must be one of fgsm, ifgsm, pgd"),
    (["--attack", "cw:depth=3"], "cw has the settings confidence"),
    (["--strategy", "fastest"], "invalid choice"),
    (["--unknown"], "unrecognized arguments"),
    (["--store", "nonsense://x"], "cannot open nonsense://x"),
    (["--store", "s3://"], "the name of a bucket"),
    (["--store", "gs:///rows"], "the name of a bucket"),
    (["--seed", "-1"], "0..2147483647"),
    (["--figure"], "without --figure"),
    (["--architecture", "resnet18"], "--architecture names the network of a checkpoint"),
    (["--download"], "--download and --data-root are for"),
    (["--eps-255", "0.5"], "at least 1/255"),
    (["--attack", "pgd", "--step-255", "1e6"], "0..255"),
    (["--store", ""], "an empty one"),
    (["--store", "memory://x"], "not shared with the workers"),
    (["--store", "/dev/null/x"], "/dev/null/x cannot be used"),
    (["--gpus", "1.5"], "whole GPUs"),
    (["--eps-255", "0.03"], "8/255 is --eps-255 8"),
    (["--eps-255", "0"], "a budget above 0"),
    (["--attack", "pgd-l2", "--eps-255", "0.9"], "at least 1/255"),
    (["--attack", "ifgsm", "--step-255", "0.01"], "no pixel by half a level"),
    (["--attack", "pgd", "--step-255", "0"], "steps of 0"),
    (["--attack", "fgsm:target=10"], "0..9"),
    (["--attack", "fgsm@8", "--eps-255", "2"], "given twice"),
    (["--eps-255", "8", "--eps-255=8"], "given twice"),
    (["--eps-255", "\u0668"], "expected a number"),
    (["--attack", "fgsm@\u0668"], "NAME@EPS"),
    (["--patterns", "1-\u0663"], "expected numbers like"),
    (["--epochs", "9" * 5000], "expected a whole number"),
    (["--attack", f"pgd@8x{'9' * 5000}"], "NAME@EPS"),
    (["--attack", "pgd@8x10000000"], "at most 1000000"),
    (["--adversarial", "601"], "there are 600 in all"),
    (["--data", "imagefolder:/a\0b"], "control characters"),
    (["--store", "/tmp/\udcff"], "UTF-8"),
    (["--cpus", "0"], "in 0.01..10000"),
    (["--space", "ycbcr"], "digits is gray"),
    (["--data", "photos", "--space", "ycbcr420", "--bands", "measured"], "of tables in RGB"),
    (["--rate", "601"], "there are 600, got --rate 601"),
    (["--space", "ycbcr444"], "invalid choice"),
]


@pytest.mark.parametrize(
    ("flags", "message"), BAD, ids=lambda x: " ".join(x)[:40] if isinstance(x, list) else ""
)
def test_what_cannot_be_used_is_named(flags, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Engine, "start", lambda _: pytest.fail("Ray started before the check"))
    store = [] if "--store" in flags else ["--store", str(tmp_path / "store")]
    try:
        code = main(qtable_search.JOB, [*store, *flags])
    except SystemExit as usage:
        code = usage.code
    said = capsys.readouterr().err
    assert code == 2, said
    assert message in said
    assert "Traceback" not in said
