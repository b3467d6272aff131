"""The doctor names what is wrong; a sweep refuses nodes that cannot do the work."""

from pathlib import Path

import pytest

from core.errors import InputError
from results.files import Root
from search.__main__ import main
from search.cluster import doctor, examine, nodes
from search.flags import Flags
from search.lab import Lab


def test_a_healthy_machine_is_well(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)  # which a local Ray sets
    assert main(["doctor", "--store", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.endswith("all is well\n")
    assert "a file is seen whole or not at all" in said
    assert not list((tmp_path / "out" / "sweeps").iterdir())


def test_everything_wrong_is_said_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("s3cret")
    token.chmod(0o644)
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = main(
        ["doctor", "--store", str(blocked), "--data", "imagefolder:/nowhere", "--gpus", "1"]
    )
    said = capsys.readouterr().out
    assert code == 1
    for wrong in ("WRONG  GPU", "WRONG  data", "WRONG  path", "WRONG  token", "WRONG  store"):
        assert wrong in said
    assert "s3cret" not in said
    token.chmod(0o600)
    main(["doctor", "--store", str(tmp_path / "out")])
    assert "WRONG  token" not in capsys.readouterr().out


def test_a_uri_that_cannot_be_read_is_said_without_secrets(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    for uri, wrong in (
        ("memory://nowhere", "WRONG  URI: expected a folder of images at memory://nowhere"),
        ("s3://AKIAME:s3cret@bucket/images", "WRONG  data imagefolder:s3://bucket/images"),
    ):
        code = main(["doctor", "--store", str(tmp_path / "out"), "--data", f"imagefolder:{uri}"])
        said = capsys.readouterr().out
        assert code == 1
        assert wrong in said
        assert said.endswith("2 findings to mend\n")
        assert "s3cret" not in said
    monkeypatch.setattr(examine.provenance, "versions", lambda: report().versions)
    (finding,) = doctor._node(report(unreached=("expected to read s3://b/x, got nothing",)))
    assert (finding.what, finding.wrong) == ("node n1", "expected to read s3://b/x, got nothing")


def test_a_mode_without_a_token_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    (finding,) = doctor._token()
    assert "get-auth-token" in finding.hint


def test_a_file_system_that_tears_is_found(tmp_path):
    class Torn(Root):
        def write(self, name, data):
            path = Path(self.uri) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for start in range(0, len(data), 4096):
                    file.write(data[start : start + 4096])
                    file.flush()

    assert "torn" in doctor._atomic(Torn(tmp_path)).wrong
    assert not doctor._atomic(Root(tmp_path)).wrong


def report(**changed) -> examine.Report:
    fields = {
        "host": "n1", "versions": "python=3.11.7 torch=2.15.0", "clock_s": 0.0,
        "missing_paths": (), "store_error": "", "gpu": "", "memory_gib": 8.0,
    }  # fmt: skip
    return examine.Report(**(fields | changed))


def test_every_node_that_cannot_work_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(examine.provenance, "versions", lambda: "python=3.11.7 torch=2.15.0")
    request = examine.Request(("/data",), Root(tmp_path))
    examine.check([report()], request)
    wrong = [
        report(host="n2", versions="python=3.11.7 torch=2.14.0"),
        report(host="n3", missing_paths=("/data",)),
        report(host="n4", store_error="is not shared"),
        report(host="n5", unreached=("expected to read s3://b/x, got no permission",)),
    ]
    with pytest.raises(InputError) as error:
        examine.check([report(), *wrong], request)
    text = str(error.value)
    for part in (
        "n2 has torch 2.14.0 (driver: 2.15.0)",
        "n3 has no /data",
        "n4",
        "n5: expected to read s3://b/x",
        "Hint",
    ):
        assert part in text
    assert "n1" not in text


def test_a_node_that_does_not_see_the_drivers_file_says_so(tmp_path):
    here, there = Root(tmp_path / "here"), Root(tmp_path / "there")
    here.write("sweeps/.beacon", b"")
    fine = examine.examine(examine.Request((str(tmp_path), "/nowhere"), here, "sweeps/.beacon"))
    assert (fine.store_error, fine.missing_paths) == ("", ("/nowhere",))
    asked = examine.examine(examine.Request(("memory://nowhere", str(tmp_path))))
    assert asked.unreached == ("expected a folder of images at memory://nowhere, found nothing.",)
    assert not asked.missing_paths
    other = examine.examine(examine.Request((), there, "sweeps/.beacon"))
    assert "not shared" in other.store_error


def test_slots_and_default_gpus_count_nodes_that_may_still_start(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(nodes, "nodes", lambda: [(0.0, 0.0)])
    assert (nodes.default_gpus(), nodes.slots(1, 1)) == (0.0, 1)
    (tmp_path / "ray_bootstrap_config.yaml").write_text(
        "available_node_types:\n"
        "  head: {resources: {CPU: 0}, max_workers: 0}\n"
        "  gpu: {resources: {CPU: 4, GPU: 1}, max_workers: 3}\n"
    )
    assert nodes.default_gpus() == 1.0
    assert [nodes.default_cpus(gpus) for gpus in (0.0, 0.5, 1.0)] == [1.0, 2.0, 4.0]
    assert (nodes.slots(1, 1), nodes.slots(1, 0.5), nodes.slots(2, 0)) == (3, 6, 6)


def test_nodes_are_asked_about_uris_as_they_are_typed():
    def paths(data: str, model: str = "lenet") -> tuple[str, ...]:
        return Flags(data=data, model=model).paths

    assert paths("imagefolder:s3://bucket/a//b/") == ("s3://bucket/a//b/",)
    assert paths("imagefolder:/a//b/", "checkpoint:w") == ("/a/b", str(Path.cwd() / "w"))
    assert paths("imagefolder:s3://bucket/a", "checkpoint:/w") == ("/w", "s3://bucket/a")


def test_a_listed_sweep_names_no_secret():
    asked = Flags(data="imagefolder:s3://KEY:SECRET@bucket/x", model="lenet")
    assert Lab(None, asked).state["data"] == "imagefolder:s3://bucket/x"
