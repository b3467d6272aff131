"""Tuning: the optimum found, nothing lost or done twice whatever is killed, one driver."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import tuners
from optuna.distributions import IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from tuners import AXES, OPTIMUM, Trainer, drive, outcomes, scores_of, tuning_of

from core.defences import subsets
from core.errors import InputError
from jobs.augmentation_tune import JOB
from results.files import Root
from search import main
from search.tuning import driver as tuning
from search.tuning import mixtures as mixing
from search.tuning import storage
from search.tuning.members import counts
from search.tuning.mixtures import Mixtures
from search.tuning.space import Axis, Space

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def server():
    forks = tuners.Server()
    yield forks
    forks.close()


def check_whole(trials: list[dict], n_wanted: int) -> None:
    """Every orphan retried exactly once, no setting finished twice, none lost."""
    done = [t for t in trials if t["state"] == "COMPLETE"]
    assert len(done) == n_wanted
    settings = [(t["params"]["sigma_255"], t["params"]["qs_af"]) for t in done]
    assert len(set(settings)) == n_wanted
    orphans = [t["number"] for t in trials if t["state"] == "FAIL"]
    retries = [t["user_attrs"]["retry_of"] for t in trials if "retry_of" in t["user_attrs"]]
    assert sorted(retries) == orphans
    assert not [t for t in trials if t["state"] in ("RUNNING", "WAITING")]


@pytest.mark.parametrize("objectives", ["single", "multi"])
def test_the_known_optimum_is_found(tmp_path, objectives):
    # 51 settings, 1 image apart: 16 random ones hold the best with a chance of 0.31.
    trials = drive(tmp_path, until=16, make="gp", objectives=objectives)
    best = max(trials, key=lambda t: t["values"][0])
    assert {name: best["params"][name] for name in OPTIMUM} == OPTIMUM
    # M adds nothing; M80 costs one benign image of 200, half a point; a member less breaks ties.
    single, multi = [100 * (150 + 1 / 16) / tuners.N_ADVERSARIAL], [75.0, 98.5, 2.0]
    assert best["values"] == pytest.approx(single if objectives == "single" else multi)
    assert best["user_attrs"] == {
        "members": "M90,M80",
        "def_percent": 100 * 150 / tuners.N_ADVERSARIAL,
        "acc_dec_points": 100 / tuners.N_BENIGN,
        "n_adversarial": tuners.N_ADVERSARIAL,
    }
    check_whole(trials, 16)


def test_a_study_that_was_begun_with_counts_goes_on_with_counts(tmp_path):
    assert tuning_of(counted=True).directions == {
        "adversarial images right, fewer members first": "maximize"  # as it is stored
    }
    begun = drive(tmp_path, until=4, counted=True)
    assert begun[0]["values"][0] > 100  # images of 200
    with storage.opened(Root(tmp_path), "t", None) as opened:
        counted, new = (counts(storage.question_of(opened, name)) for name in ("t", "u"))
    assert (counted, new) == (True, False)
    with pytest.raises(InputError, match=r"percent.*\nHint: ask as before, or choose another"):
        drive(tmp_path, until=8)
    assert drive(tmp_path, until=8, counted=counted)[:4] == begun
    drive(tmp_path, until=4, study="u", counted=new)
    with storage.opened(Root(tmp_path), "u", None) as opened:
        assert not counts(storage.question_of(opened, "u"))


def test_membership_is_eight_real_parameters_answered_by_enumeration(tmp_path):
    trials = drive(tmp_path, until=5)
    for trial in trials:
        scores = scores_of(trial["params"])
        subset = subsets.best(scores, undefended=tuners.UNDEFENDED, max_decline_points=1.0)
        used = subsets.names(subset, tuners.MEMBERS)
        assert {m: trial["params"][f"use_{m}"] for m in tuners.MEMBERS} == {
            m: m in used for m in tuners.MEMBERS
        }
        assert trial["constraints"] == {tuning.RULE_BROKEN: 1.0 - 1}  # 1 lost, 1 allowed


MISFITS = [
    ({"sigma_255": 15}, "expected sigma_255 of 0-32/2, found 15"),
    ({"sigma_255": -4, "qs_af": 41}, "found -4"),
    ({"sigma_255": "ten"}, "found 'ten'"),
    ({"qs_af": float("nan")}, "found nan"),
    ({"qs_af": None}, "found None"),
    ({"sigma": 10}, "expected parameters among sigma_255, qs_af, found 'sigma'"),
    ({"use_M": False}, "found 'use_M'"),  # enumerated here, not searched
]


def test_trials_enqueued_by_hand_that_fit_no_setting_fail_and_the_study_goes_on(tmp_path):
    quiet = outcomes(drive(tmp_path / "quiet", until=6))
    drive(tmp_path, until=2)
    path = tmp_path / "tuning" / "t.journal"
    study = optuna.load_study(study_name="t", storage=JournalStorage(JournalFileBackend(str(path))))
    for params, _ in MISFITS:
        study.enqueue_trial(params)
    study.enqueue_trial({"sigma_255": 16, "qs_af": 41})  # the second start, asked for by hand
    trials = drive(tmp_path, until=6 + len(MISFITS), parallel=3)
    failed = [t for t in trials if t["state"] == "FAIL"]
    for trial, (_, reason) in zip(failed, MISFITS, strict=True):
        assert reason in trial["user_attrs"]["error"]
    assert len(outcomes(trials)) == 6
    assert outcomes(trials)[:2] == quiet[:2]
    assert len(drive(tmp_path, until=8 + len(MISFITS))) == 8 + len(MISFITS)


def test_a_trial_added_by_hand_off_the_grid_does_not_end_the_study(tmp_path):
    drive(tmp_path, until=4)
    path = tmp_path / "tuning" / "t.journal"
    study = optuna.load_study(study_name="t", storage=JournalStorage(JournalFileBackend(str(path))))
    wider = {"sigma_255": IntDistribution(-9, 99), "qs_af": IntDistribution(0, 99)}
    params = {"sigma_255": 15, "qs_af": 41}
    study.add_trial(optuna.trial.create_trial(params=params, distributions=wider, value=1.0))
    assert [t["state"] for t in drive(tmp_path, until=8)] == ["COMPLETE"] * 8


def test_a_searched_ensemble_without_members_is_refused():
    space = Space(AXES, tuners.MEMBERS)
    assert space.misfit({f"use_{m}": False for m in tuners.MEMBERS}) == (
        "expected a member to be used, found none"
    )
    assert space.misfit({"use_M": "yes"}) == "expected use_M of true or false, found 'yes'"
    assert space.misfit({"use_M": 0, "sigma_255": 10}) == ""


def test_searched_membership_finds_the_best_subset_and_obeys_the_limit(tmp_path):
    space = Space(AXES, tuners.MEMBERS)
    starts = ({"sigma_255": 10, "qs_af": 61, "use_M": 1, "use_M90": 1, "use_M80": 1},)
    asked = tuning_of(space=space, starts=starts, max_decline_points=0.5)  # no benign image lost
    with storage.opened(Root(tmp_path), "t", None) as opened:
        driver = tuning.Driver(opened, asked, Trainer(tmp_path / "chains"))
        driver.run(until=30)
        best = driver.study.best_trial
        assert best.user_attrs["members"] == "M90"
        broken = [t for t in driver.ended() if t.params["use_M80"]]
        assert broken
        assert all(t.constraints[tuning.RULE_BROKEN] == 1.0 for t in broken)
        assert all(any(t.params[f"use_{m}"] for m in tuners.MEMBERS) for t in driver.ended())


def test_a_repeated_setting_is_swapped_for_the_nearest_untried():
    space = Space((Axis("a", (0, 2, 4)), Axis("b", (5,))))
    near = space.nearest_untried
    assert near({"a": 2, "b": 5}, []) == {"a": 2, "b": 5}
    assert near({"a": 4, "b": 5}, [{"a": 4, "b": 5}]) == {"a": 2, "b": 5}
    assert near({"a": 2, "b": 5}, [{"a": 2, "b": 5}]) == {"a": 0, "b": 5}
    assert near({"a": 2, "b": 5}, [{"a": a, "b": 5} for a in (0, 2, 4)]) is None
    members = Space((Axis("a", (1,)),), ("M", "N"))
    assert members.size == 3
    nobody = {"a": 1, "use_M": 0, "use_N": 0}
    assert members.nearest_untried(nobody, []) == {"a": 1, "use_M": 1, "use_N": 0}
    assert members.nearest_untried(nobody, [nobody | {"use_M": 1}]) == nobody | {"use_N": 1}


def test_a_space_that_is_used_up_ends_the_study(tmp_path, capsys):
    space = Space((Axis("sigma_255", (0, 2, 4)), Axis("qs_af", (41,))))
    trials = drive(tmp_path, until=9, space=space, starts=())
    check_whole(trials, 3)
    assert "every setting" in capsys.readouterr().err


@pytest.mark.parametrize("make", ["random", "gp"])
def test_a_killed_reproducible_study_equals_the_undisturbed_one(server, tmp_path, make):
    expected = drive(tmp_path / "quiet", make=make)
    chance = random.Random(1)
    for what in ("written", "torn", "work"):
        n_kills, trials = 0, None
        while trials is None:
            kill = (what, chance.randint(1, 25 if what != "work" else 3)) if n_kills < 6 else None
            trials = server.drive(tmp_path / what, kill, make=make)
            n_kills += trials is None
        assert n_kills >= 2
        check_whole(trials, 8)
        assert outcomes(trials) == outcomes(expected)


def test_a_kill_at_every_record_of_the_journal_is_survived(server, tmp_path):
    # One store; the k-th start dies at its k-th record, so each kind of record is met.
    trials, k = None, 0
    while trials is None and k < 60:
        k += 1
        trials = server.drive(tmp_path, ("torn" if k % 2 else "written", k), until=6, parallel=2)
    assert trials is not None
    assert k > 12
    check_whole(trials, 6)


def test_reclaiming_twice_retries_once():
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    drawn = Space(AXES).distributions
    study.ask(drawn)  # an orphan with all parameters
    study.ask()  # one with none
    failed = study.ask(drawn)
    failed.set_user_attr("error", "a bug")
    for _ in range(3):
        tuning.reclaim(study, drawn)
    trials = study.trials
    assert [t.state for t in trials] == [TrialState.FAIL] * 3 + [TrialState.WAITING] * 2
    assert [t.user_attrs.get("retry_of") for t in trials] == [None, None, None, 0, 1]
    assert trials[3].system_attrs["fixed_params"] == trials[0].params
    again = study.ask(drawn)
    tuning.reclaim(study, drawn)
    assert study.trials[again.number].state == TrialState.FAIL
    assert study.trials[-1].user_attrs == {"retry_of": again.number, "attempt": 3}


def test_a_setting_that_fails_is_marked_and_not_tried_again(tmp_path):
    def evaluate(settings):
        return [
            tuning.Failed("ValueError: no") if s["sigma_255"] == 16 else scores_of(s)
            for s in settings
        ]

    for _ in range(2):
        with storage.opened(Root(tmp_path), "t", None) as opened:
            driver = tuning.Driver(opened, tuning_of(), evaluate, tuners.MAKERS["random"])
            driver.run(until=6, parallel=2)
            assert driver.failed() == {1: "ValueError: no"}
            assert [t.params["sigma_255"] for t in driver.ended()].count(16) == 1
            assert len(driver.study.trials) == 6


def test_trials_means_more_and_until_means_in_all(tmp_path):
    with storage.opened(Root(tmp_path), "t", None) as opened:
        driver = tuning.Driver(
            opened, tuning_of(), Trainer(tmp_path / "chains"), tuners.MAKERS["random"]
        )
        for run, n in (({"more": 3}, 3), ({"more": 2}, 5), ({"until": 5}, 5), ({"until": 6}, 6)):
            driver.run(**run)
            assert len(driver.ended()) == n


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_second_driver_is_refused_at_once_and_let_in_after_the_first(tmp_path, kind):
    url = None if kind == "journal" else f"sqlite:///{tmp_path}/t.db"
    with storage.opened(Root(tmp_path), "t", url):
        with pytest.raises(InputError, match=f"has a driver already .process {os.getpid()} on"):
            drive(tmp_path, url=url)
        drive(tmp_path, url=url, study="another", until=1)
    check_whole(drive(tmp_path, url=url, until=2), 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"space": Space((Axis("sigma_255", tuple(range(0, 65, 2))), AXES[1]))},
         'search space: sigma_255: "0-32/2" there, "0-64/2" now'),
        ({"question": {"data": "other"}}, 'data: "none" there, "other" now'),
        ({"question": {"data": "none", "rule": "vote"}}, 'rule: nothing there, "vote" now'),
        ({"objectives": "multi"}, "directions maximize, wanted are maximize, maximize, minimize"),
        ({"max_decline_points": 2.0}, "max_decline_points: 1.0 there, 2.0 now"),
    ],
)  # fmt: skip
def test_another_question_is_refused_naming_the_difference(tmp_path, change, said):
    drive(tmp_path, until=1)
    with pytest.raises(InputError) as refusal:
        drive(tmp_path, until=2, **change)
    assert said in str(refusal.value)
    assert len(drive(tmp_path, until=1)) == 1  # and nothing was left behind


def test_trials_of_something_else_are_refused(tmp_path):
    backend = optuna.storages.journal.JournalFileBackend
    (tmp_path / "tuning").mkdir()
    storage = optuna.storages.JournalStorage(backend(str(tmp_path / "tuning/t.journal")))
    optuna.create_study(storage=storage, study_name="t", direction="maximize").ask()
    with pytest.raises(InputError, match="holds trials of something else"):
        drive(tmp_path)


@pytest.mark.parametrize("tail", [b'{"op_code":5,"wor', b"\0\0\0\n", b"\0\0", b"{}x\n"])
def test_a_torn_tail_is_cut_and_nothing_else(tmp_path, tail, capsys):
    expected = drive(tmp_path, until=3)
    journal = tmp_path / "tuning/t.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    Path(f"{journal}.lock").symlink_to(journal)
    assert drive(tmp_path, until=3) == expected
    assert journal.read_bytes().startswith(whole)
    assert f"torn last line of {len(tail)} bytes" in capsys.readouterr().err
    check_whole(drive(tmp_path, until=4), 4)


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning/t.journal").write_text("[1]\n{}\n")
    with pytest.raises(InputError, match="is no journal"):
        drive(tmp_path)


@pytest.mark.parametrize("name", ["", "../t", "a/b", ".t", "t\n", "x" * 65, "-t"])
def test_a_study_name_is_a_plain_word(tmp_path, name):
    with pytest.raises(InputError, match="study's name"):
        drive(tmp_path, study=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://u:secret@h/d", "no tuning study"), ("sqlite://", "no tuning study"),
     ("results", "no tuning study"), ("sqlite:////nowhere/t.db", "no folder /nowhere")],
)  # fmt: skip
def test_other_storages_are_refused(tmp_path, url, said):
    with pytest.raises(InputError, match=said) as refusal:
        drive(tmp_path, url=url)
    assert "secret" not in str(refusal.value)


def test_an_object_store_wants_a_storage():
    class Remote(Root):
        def __init__(self):
            super().__init__("memory://rows")

    with (
        pytest.raises(InputError, match=r"(?s)no folder.*--storage postgresql://"),
        storage.opened(Remote(), "t", None),
    ):
        pass


def test_a_driver_killed_by_the_clock_in_another_process(tmp_path):
    # The server's forks share an import; this one is a whole process, killed at work.
    code = (
        "import time, tuners; from pathlib import Path\n"
        f"tuners.drive(Path({str(tmp_path)!r}), at_work=lambda: print('at work', flush=True) "
        "or time.sleep(0.05))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"PYTHONPATH": f"{HERE}:{HERE.parent}"},
    )  # fmt: skip
    for _ in range(3):
        assert process.stdout.readline() == "at work\n"
    process.kill()
    process.communicate()
    trials = drive(tmp_path)
    check_whole(trials, 8)
    assert sum(t["state"] == "FAIL" for t in trials) == 1
    assert outcomes(trials) == outcomes(drive(tmp_path / "quiet"))


def test_a_journal_that_was_changed_since_is_refused_and_may_only_grow(tmp_path):
    drive(tmp_path, until=3)
    path = tmp_path / "tuning" / "t.journal"
    whole = path.read_bytes()
    place = whole.index(b'"values":[') + len(b'"values":[')
    for changed in (whole[:place] + b"9" + whole[place + 1 :], whole[:-9], b""):
        path.write_bytes(changed)
        with pytest.raises(InputError, match=r"was damaged or changed[^$]*\nHint: "):
            drive(tmp_path, until=4)
    path.write_bytes(whole)
    assert len(drive(tmp_path, until=4)) == 4


def test_a_driver_asks_for_mixtures_of_training_images_as_well(tmp_path):
    mixtures = Mixtures(
        parts=(0, 1, 2), quality=(20, 40), noise_percent=(5, 10), codecs=("bls:lambda=0.005",)
    )
    for wrong in (("jpeg40",), ("none",), ("noise0.1",), ("fd", "fd")):
        with pytest.raises(InputError, match=f"each once, got {wrong[0]}"):
            replace(mixtures, codecs=wrong)
    question = {"data": "none"}
    asked = mixing.Tuning(study="m", mixtures=mixtures, question=question, seed=0)

    def right(settings):
        return [mixing.Right(10 * s["jpeg_parts"] + s["quality"], 100, 50, 100) for s in settings]

    with storage.opened(Root(tmp_path), "m", None) as opened:
        driver = tuning.Driver(opened, asked, right, tuners.MAKERS["random"])
        driver.run(until=8)
        lines = mixtures.told(driver.ended())
    sets = [line["training"] for line in lines]
    assert sets[:5] == [
        *("none", "1*none+2*jpeg40", "1*none+2*noise0.1", "1*none+2*bls:lambda=0.005"),
        "1*none+2*jpeg40+2*noise0.1+2*bls:lambda=0.005",
    ]
    assert max(line["corrupted"] for line in lines) == 60
    assert [line["plain"] for line in lines[:2]] == [100, 100 / 3]
    assert {line["clean"] for line in lines} == {50}
    with storage.opened(Root(tmp_path), "m", None) as opened:
        other = replace(asked, mixtures=replace(mixtures, codecs=("bls:lambda=0.1",)))
        with pytest.raises(InputError, match=r'codecs: \["bls:lambda=0.005"\] there'):
            tuning.Driver(opened, other, right)


def test_what_is_no_codec_is_refused_in_words_of_codecs(tmp_path, capsys):
    argv = ["--smoke", "--here", "--codecs", "nonsense"]
    assert main(JOB, [*argv, "--store", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "error: no codec is called 'nonsense'.\nHint: --codecs takes" in told
    assert "defence" not in told
