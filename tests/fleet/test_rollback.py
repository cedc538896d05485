"""Going back to versions that are loaded, and to versions that are not."""

import shutil
import time

import pytest

from clients import Http, Load
from fleet import Fleet, Refused, put_version, times, until

LARGE = 4 << 20
"""A version of so many bytes takes a while to load: half a second on an idle core."""


def grow(fleet, versions=(2, 3), large=()):
    """Each new version gets all traffic, as it is deployed: 1, then 2, then 3."""
    fleet.agree_on(fleet[0].weigh({1: 1})["revision"])
    for version in versions:
        size = LARGE if version in large else 0
        put_version(fleet.models, "m", version, times(version, size))
        for replica in fleet:
            until(lambda: replica.states().get(version) == "AVAILABLE", 20, replica.states)
        fleet.agree_on(fleet[0].weigh({version: 1})["revision"])


def latest_only(toml=""):
    """A model of which only the newest version is loaded by its files."""
    def make(models):
        (models / "m").mkdir()
        (models / "m/model.toml").write_text(f"{toml}\n[versions]\nlatest = 1\n")
        put_version(models, "m", 1, times(1, LARGE))

    return make


def settle(replica, loaded: set):
    state = lambda: {v for v, s in replica.states().items() if s == "AVAILABLE"}
    until(lambda: state() == loaded, 10, lambda: f"{state()}, not {loaded}")


def wait_and_watch(fleet, document: dict, before: int, after: int):
    """The rollback is answered at once; `before` goes on until `after` is there; nothing fails."""
    with Load(fleet) as load:
        asked = time.monotonic()
        told = fleet[0].roll_back(**document)
        answered = time.monotonic()
        assert told["split"] == [{"version": before, "weight": 10000}]
        assert told["current"]["arms"] == [{"version": after, "weight": 10000}]
        for replica in fleet:
            until(lambda: replica.split() == {after: 10000}, 20, replica.states)
        there = time.monotonic()
        for replica in fleet:
            assert Http(replica.rest).infer().version == after
        time.sleep(0.3)
    assert load.failed == []
    rows = list(load.rows())
    assert {row[3] for row in rows} == {before, after}
    for replica in range(len(fleet.replicas)):
        own = sorted((ended, began, v) for began, ended, r, v in rows if r == replica)
        first = min(ended for ended, _, v in own if v == after)
        # Once it has taken over, what went before is over.
        assert all(v == after for _, began, v in own if began > first)
        assert any(v == before for ended, began, v in own if began > asked), "served meanwhile"
        assert all(v == after for _, began, v in own if began > there)
    print(f"\nanswered after {(answered - asked) * 1e3:.0f} ms, in force after {(there - asked) * 1e3:.0f} ms")


def test_what_is_not_kept_warm_is_told_of_and_loaded_first_while_serving_goes_on():
    with Fleet(2, make=latest_only("keep_warm = 0")) as fleet:
        grow(fleet)
        for replica in fleet:
            settle(replica, {3})
            told = replica.traffic()["rollback"]
            assert told[0] == {"revision": 2, "instant": False, "missing": [2]}
            assert told[1] == {"revision": 1, "instant": False, "missing": [1]}
        # A change of weights does not wait for a version, it is refused; only going back does.
        with pytest.raises(Refused) as refused:
            fleet[0].weigh({1: 1})
        assert refused.value.status == 409 and "version 1 of m is not loaded" in refused.value.error
        wait_and_watch(fleet, {"to": 1}, before=3, after=1)
        for replica in fleet:
            told = replica.traffic()
            assert told["current"]["restores"] == 1
            # What is needed is loaded, what the files ask for is too.
            settle(replica, {1, 3})


def test_keep_warm_says_how_many_rollbacks_are_instant():
    with Fleet(2, make=latest_only("keep_warm = 1")) as fleet:
        grow(fleet, (2, 3, 4))
        for replica in fleet:
            settle(replica, {3, 4})
            told = [(b["revision"], b["instant"], b["missing"]) for b in replica.traffic()["rollback"]]
            assert told == [(3, True, []), (2, False, [2]), (1, False, [1])]
        told = fleet[1].roll_back()
        assert told["split"] == [{"version": 3, "weight": 10000}]
        assert Http(fleet[1].rest).infer().version == 3
        fleet.agree_on(5)
        assert Http(fleet[0].rest).infer().version == 3


def test_warm_bytes_bound_what_is_kept_and_the_likeliest_is_kept_first():
    # Room for one large version, which is what the last rollback but one would need.
    with Fleet(1, "--warm-bytes", str(LARGE * 3 // 2), make=latest_only("keep_warm = 5")) as fleet:
        grow(fleet, (2, 3, 4), large=(2, 3))
        settle(fleet[0], {3, 4})
        told = [(b["revision"], b["instant"], b["missing"]) for b in fleet[0].traffic()["rollback"]]
        assert told == [(3, True, []), (2, False, [2]), (1, False, [1])]
    with Fleet(1, "--warm-bytes", "0", make=latest_only("keep_warm = 5")) as fleet:
        grow(fleet)
        settle(fleet[0], {3})
        assert [b["instant"] for b in fleet[0].traffic()["rollback"]] == [False, False]
        wait_and_watch(fleet, {}, before=3, after=2)


def test_a_rollback_to_a_version_whose_files_are_gone_goes_on_with_what_was_served():
    with Fleet(1, make=latest_only("keep_warm = 0")) as fleet:
        grow(fleet)
        settle(fleet[0], {3})
        aside = fleet.root / "1"
        shutil.move(fleet.models / "m/1", aside)
        time.sleep(0.3)
        assert fleet[0].traffic()["rollback"][1] == {"revision": 1, "instant": False, "missing": [1]}
        told = fleet[0].roll_back(to=1)
        assert told["split"] == [{"version": 3, "weight": 10000}]
        time.sleep(0.5)
        told = fleet[0].traffic()
        assert told["current"]["arms"] == [{"version": 1, "weight": 10000}]
        assert told["split"] == [{"version": 3, "weight": 10000}]
        assert Http(fleet[0].rest).infer().version == 3
        # It is taken over as soon as it is there again.
        shutil.move(aside, fleet.models / "m/1")
        until(lambda: fleet[0].split() == {1: 10000}, 20, fleet[0].states)
        assert Http(fleet[0].rest).infer().version == 1


def test_without_a_document_a_rollback_goes_back_to_the_version_before_the_latest(fleet):
    with pytest.raises(Refused) as refused:
        fleet[0].roll_back()
    assert refused.value.status == 409 and "no earlier traffic" in refused.value.error
    put_version(fleet.models, "m", 7, times(7))
    for replica in fleet:
        until(lambda: replica.split() == {7: 10000}, 5)
        assert replica.traffic()["latest"] and replica.traffic()["current"] is None
    told = fleet[1].roll_back()
    assert told["split"] == [{"version": 6, "weight": 10000}]
    fleet.agree_on(1)
    assert all(Http(replica.rest).infer().version == 6 for replica in fleet)
    fleet.agree_on(fleet[2].set(latest=True)["current"]["revision"])
    assert all(Http(replica.rest).infer().version == 7 for replica in fleet)
