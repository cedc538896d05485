"""The store fails, loses, lies: what is served goes on, and nothing that was acknowledged is lost."""

import ctypes
import os
import random
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Thread

import pytest

from clients import Http, Load
from fleet import NOBODY, Fleet, Refused, put_model, quantiles, shares, until

UP = 'ocelli_traffic_store_up{kind="file"}'


def exchange(one: Path, other: Path) -> None:
    """Each takes the other's name at once: a replica that found neither would make a store of its own there."""
    libc = ctypes.CDLL(None, use_errno=True)
    here, exchanging = -100, 2
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchanging) != 0:
        raise OSError(ctypes.get_errno(), "renameat2", str(one))


def store_of(replica) -> dict:
    return replica.status()["store"]


def is_well(replica) -> bool:
    told = store_of(replica)
    return told["ok"] and told["error"] is None and replica.metrics()[UP] == 1


def tells_of_trouble(replica) -> bool:
    told = store_of(replica)
    return not told["ok"] and bool(told["error"]) and replica.metrics()[UP] == 0


def refuses(replica, weights: dict):
    """503, for a change and for a rollback, and nothing is changed by that."""
    before = replica.traffic()
    for call in (lambda: replica.weigh(weights), lambda: replica.roll_back()):
        with pytest.raises(Refused) as refused:
            call()
        assert refused.value.status == 503, refused.value
        assert "traffic of m is as it was" in refused.value.error
    assert replica.traffic() == before


def documents(fleet) -> list:
    return sorted(path.name for path in (fleet.store / "m").iterdir())


@pytest.fixture
def unprivileged():
    """Nobody's replicas: no permission keeps root from anything."""
    with Fleet(user=NOBODY if os.geteuid() == 0 else None) as fleet:
        fleet.agree_on(fleet[0].weigh({1: 1})["revision"])
        fleet.agree_on(fleet[1].weigh({2: 1})["revision"])
        yield fleet


def make_readonly(fleet):
    for path in (fleet.store / "m", fleet.store):
        path.chmod(0o555)


def make_writable(fleet):
    for path in (fleet.store, fleet.store / "m"):
        path.chmod(0o777)


def test_a_read_only_directory_refuses_changes_and_heals_by_itself(unprivileged):
    fleet = unprivileged
    stored = documents(fleet)
    make_readonly(fleet)
    with Load(fleet) as load:
        for replica in fleet:
            refuses(replica, {3: 1})
        time.sleep(0.5)
        for replica in fleet:
            assert Http(replica.rest).infer().version == 2
    assert load.failed == [] and set(row[3] for row in load.rows()) == {2}
    assert documents(fleet) == stored
    make_writable(fleet)
    assert fleet[2].weigh({3: 1})["revision"] == 3
    fleet.agree_on(3)
    assert all(is_well(replica) for replica in fleet)
    assert [d["revision"] for d in fleet[0].traffic()["history"]] == [1, 2, 3]


def test_status_and_metric_tell_of_a_directory_that_refused_a_change(unprivileged):
    fleet = unprivileged
    make_readonly(fleet)
    refuses(fleet[0], {3: 1})
    until(lambda: tells_of_trouble(fleet[0]), 3)
    make_writable(fleet)
    until(lambda: is_well(fleet[0]), 5)


@pytest.mark.parametrize("how", ["unreadable", "a file in its place"])
def test_a_directory_that_is_lost_for_a_while_refuses_changes_is_told_of_and_heals(unprivileged, how):
    fleet = unprivileged
    aside = fleet.root / "aside"
    if how == "unreadable":
        fleet.store.chmod(0)
    else:
        fleet.store.rename(aside)
        fleet.store.write_text("no directory")
    with Load(fleet) as load:
        until(lambda: all(tells_of_trouble(replica) for replica in fleet), 4, lambda: store_of(fleet[0]))
        for replica in fleet:
            refuses(replica, {3: 1})
    assert load.failed == [] and set(row[3] for row in load.rows()) == {2}
    events = fleet[0].ask("GET", "events")["events"]
    assert events[0]["kind"] == "store"
    if how == "unreadable":
        fleet.store.chmod(0o777)
    else:
        exchange(aside, fleet.store)
    until(lambda: all(is_well(replica) for replica in fleet), 4, lambda: store_of(fleet[0]))
    assert fleet[1].weigh({3: 1})["revision"] == 3
    fleet.agree_on(3)
    assert [d["revision"] for d in fleet[0].traffic()["history"]] == [1, 2, 3]


def test_a_directory_removed_is_told_of_and_given_everything_back_by_the_next_change(fleet):
    for version in (1, 2, 3):
        fleet.agree_on(fleet[0].weigh({version: 1})["revision"])
    before = fleet[0].traffic()
    shutil.rmtree(fleet.store)
    until(lambda: all(tells_of_trouble(replica) for replica in fleet), 4, lambda: store_of(fleet[0]))
    assert "revision 3 is gone" in store_of(fleet[2])["error"]
    for replica in fleet:
        assert Http(replica.rest).infer().version == 3
        assert replica.traffic() == before
    assert fleet[1].weigh({4: 1})["revision"] == 4
    fleet.agree_on(4)
    assert documents(fleet) == [f"{n:020}.json" for n in (1, 2, 3, 4)]
    until(lambda: all(is_well(replica) for replica in fleet), 4, lambda: store_of(fleet[0]))
    for replica in fleet:
        assert replica.traffic()["history"][:3] == before["history"]


def test_a_store_set_back_to_a_backup_takes_changes_again(fleet):
    for version in (1, 2, 3, 4, 5):
        fleet.agree_on(fleet[0].weigh({version: 1})["revision"])
    for revision in (4, 5):
        (fleet.store / f"m/{revision:020}.json").unlink()
    until(lambda: all(tells_of_trouble(replica) for replica in fleet), 4)
    assert Http(fleet[0].rest).infer().version == 5
    assert fleet[1].weigh({6: 1})["revision"] == 6
    fleet.agree_on(6)


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_the_newest_file_corrupted_the_last_good_one_holds_and_the_next_change_works(fleet, how):
    for version in (1, 2, 3):
        fleet.agree_on(fleet[0].weigh({version: 1})["revision"])
    file = fleet.store / f"m/{3:020}.json"
    good = file.read_bytes()
    flipped = good.replace(b'"version":3', b'"version":4')
    assert flipped != good
    file.write_bytes({"cut": good[: len(good) // 2], "flipped": flipped, "empty": b""}[how])
    # Who knew it goes on with it.
    until(lambda: tells_of_trouble(fleet[1]), 4)
    assert "revision 3 is unreadable" in store_of(fleet[1])["error"]
    assert Http(fleet[1].rest).infer().version == 3
    # Who comes anew has the last good one.
    fleet[0].kill()
    fleet[0].start()
    assert fleet[0].revision() == 2 and Http(fleet[0].rest).infer().version == 2
    until(lambda: tells_of_trouble(fleet[0]), 4)
    # Its number is taken.
    assert fleet[0].weigh({5: 1})["revision"] == 4
    fleet.agree_on(4)
    for replica in fleet:
        assert Http(replica.rest).infer().version == 5
    until(lambda: all(is_well(replica) for replica in fleet), 4)
    fleet[2].kill()
    fleet[2].start()
    assert fleet[2].revision() == 4
    assert fleet[2].roll_back()["current"]["restores"] == 2


def test_two_operators_at_once_both_end_in_the_history(fleet):
    fleet.agree_on(fleet[0].weigh({1: 1})["revision"])
    made, each = [], 100

    def operate(at: int):
        for n in range(each):
            made.append(fleet[at].weigh({at + 2: 1}, author=f"op-{at}", reason=f"{at}.{n}"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(operate, [0, 1]))
    revisions = sorted(d["revision"] for d in made)
    assert revisions == list(range(2, 2 + 2 * each))
    assert {d["reason"] for d in made} == {f"{at}.{n}" for at in (0, 1) for n in range(each)}
    # Each operator's changes are in the order that they were made in.
    for at in (0, 1):
        own = sorted((d for d in made if d["author"] == f"op-{at}"), key=lambda d: d["revision"])
        assert [d["reason"] for d in own] == [f"{at}.{n}" for n in range(each)]
    fleet.agree_on(1 + 2 * each)
    by_revision = {d["revision"]: d for d in made}
    for replica in fleet:
        history = replica.traffic()["history"]
        assert history == [by_revision[r] for r in revisions[-32:]]


def test_of_two_operators_with_if_revision_exactly_one_gets_409(fleet):
    revision = fleet[0].weigh({1: 1})["revision"]
    fleet.agree_on(revision)
    for n in range(40):
        def operate(at: int):
            try:
                return fleet[at].weigh({at + 2: 1}, if_revision=revision, reason=f"{n}.{at}")
            except Refused as refused:
                return refused

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(operate, [n % 3, (n + 1) % 3]))
        lost = [a for a in answers if isinstance(a, Refused)]
        won = [a for a in answers if not isinstance(a, Refused)]
        assert len(won) == len(lost) == 1 and lost[0].status == 409
        assert won[0]["revision"] == revision + 1
        revision += 1
        fleet.agree_on(revision)
        assert all(replica.traffic()["current"] == won[0] for replica in fleet)


def test_kill_9_amid_changes_twenty_times_loses_nothing_that_was_acknowledged(fleet):
    victim, other = fleet[0], fleet[1]
    acknowledged, started = [], []
    for turn in range(20):
        def publish():
            try:
                for n in range(10_000):
                    version = (turn + n) % 6 + 1
                    started.append((turn, n, version))
                    told = victim.weigh({version: 1}, reason=f"{turn}.{n}")
                    acknowledged.append(told)
            except Exception:
                pass

        before = len(acknowledged)
        publisher = Thread(target=publish)
        publisher.start()
        until(lambda: len(acknowledged) > before + turn % 4, 10)
        time.sleep(random.random() * 0.03)
        victim.kill()
        publisher.join()
        last, tried = acknowledged[-1], started[-1]
        until(lambda: other.revision() >= last["revision"], 3)
        victim.start()
        now = victim.traffic()
        at_last = [d for d in now["history"] if d["revision"] == last["revision"]]
        assert at_last == [last]
        # At most the one that was under way came after it.
        newest = now["current"]
        if newest != last:
            assert newest["revision"] == last["revision"] + 1
            assert newest["reason"] == f"{tried[0]}.{tried[1]}"
        assert Http(victim.rest).infer().version == newest["arms"][0]["version"]
        fleet.agree_on(newest["revision"])
        revisions = [d["revision"] for d in now["history"]]
        assert revisions == list(range(revisions[0], newest["revision"] + 1))
        assert is_well(victim)
    print(f"\n{len(acknowledged)} changes were acknowledged before 20 kills")


@pytest.fixture(scope="module")
def skew(tmp_path_factory) -> Path:
    library = tmp_path_factory.mktemp("skew") / "skew.so"
    source = Path(__file__).with_name("skew.c")
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, source]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
    return library


def test_replicas_an_hour_ahead_and_behind_converge_all_the_same(skew):
    hours = [0, 1, -1]
    env = [{"LD_PRELOAD": str(skew), "SKEW_SECONDS": str(3600 * h)} for h in hours]

    def make(models):
        put_model(models, "m")
        # Long before: see the test below.
        for path in models.rglob("*"):
            os.utime(path, (time.time() - 7200,) * 2)

    with Fleet(env=env, make=make) as fleet:
        fleet.agree_on(fleet[0].weigh({1: 1}, sticky={"by": "header", "name": "x-user"})["revision"])
        late = []
        with Load(fleet) as load:
            for n in range(60):
                at, weights = n % 3, {n % 6 + 1: 30 + n, (n + 1) % 6 + 1: 40}
                if n % 5 == 4:
                    document = fleet[at].roll_back()["current"]
                else:
                    document = fleet[at].weigh(weights)
                answered = time.monotonic()
                created = datetime.fromisoformat(document["created"].replace("Z", "+00:00")[:26] + "+00:00")
                off = created - datetime.now(timezone.utc)
                assert abs(off - timedelta(hours=hours[at])) < timedelta(minutes=1), "no skew at all"
                fleet.agree_on(document["revision"], seconds=2)
                late.append(time.monotonic() - answered)
                assert fleet[0].split() == fleet[1].split() == fleet[2].split() == shares(document["arms"])
        assert load.failed == []
        histories = [replica.traffic()["history"] for replica in fleet]
        assert histories[0] == histories[1] == histories[2]
        assert [d["revision"] for d in histories[0]] == list(range(30, 62))
        users = [[Http(r.rest).infer(x_user=f"u{n}").version for n in range(100)] for r in fleet]
        assert users[0] == users[1] == users[2]
        # One with a right clock comes anew, and one behind.
        for at in (2, 0):
            fleet[at].kill()
            fleet[at].start()
            assert fleet[at].traffic()["history"] == histories[0]
        print(f"\nan hour ahead and behind: all three agree after {quantiles(late)}")


def test_a_replica_half_an_hour_behind_loads_a_model_that_was_just_put_there(skew, monkeypatch):
    monkeypatch.setattr("fleet.PATIENCE", 3)
    with Fleet(count=1, env=[{"LD_PRELOAD": str(skew), "SKEW_SECONDS": "-1800"}]) as fleet:
        assert Http(fleet[0].rest).infer().version == 6
