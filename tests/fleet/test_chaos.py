"""Replicas come and go under load while the traffic changes: what fails is what a killed process had, and nothing that a
caller tries again. The balancer is the one that deploy/ ships."""

import os
import random
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from balancer import free_port
from callers import GRPC, REST, Attempt, Callers, is_ready
from clients import Http
from cluster import DETECTED, NOTICED, Arrival, Cluster, Operator
from fleet import ANY, Fleet, Server, quantiles, until
from kubernetes import Kubernetes

pytestmark = pytest.mark.skipif(not shutil.which("haproxy"), reason="there is no haproxy")

STALE = 3.0
"""Seconds after which nobody may answer by a document that was followed by another one; loading counts too."""


def seeded() -> random.Random:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
    print(f"\nCHAOS_SEED={seed}")
    return random.Random(seed)


@pytest.mark.parametrize("store", ["file", "kubernetes"])
def test_one_is_killed_one_drained_and_one_added_while_versions_are_rolled_out_and_back(store):
    rng = seeded()
    with Cluster(store) as cluster:
        killed, drained, stays = rng.sample(range(3), 3)
        came: list[Arrival] = []
        ended = []
        with Callers(cluster.doors) as callers, Operator(cluster, rng) as operator:
            changes = [
                lambda: cluster.kill(killed),
                lambda: ended.append(cluster.drain(drained, callers.endpoints)),
                lambda: came.append(cluster.add(3, callers.endpoints)),
            ]
            rng.shuffle(changes)
            for change in changes:
                time.sleep(rng.uniform(1.0, 2.5))
                change()
            time.sleep(DETECTED)
        record = callers.record
        assert not operator.failed, operator.failed[0]
        assert record.failed == []
        only_of_the_killed(cluster, killed, record.lost)
        by_the_documents(operator.documents, record.answers)
        came_ready(came[0])
        served_too(cluster, 3, len(came[0].first))
        assert ended[0].process.returncode == 0 and '"drained":true' in ended[0].log[-1]
        survivors_agree(cluster)
        if cluster.kubernetes:
            assert cluster.kubernetes.watches >= 4
        print(f"{len(record.answers)} answers: {dict(Counter(a.way for a in record.answers))}")
        print(f"{len(record.lost)} lost with the killed one: {dict(Counter(a.way for a in record.lost))}")
        print(f"{len(operator.documents)} documents: {dict(Counter(operator.done))}")
        for way in (*REST, *GRPC):
            print(f"{way}: {quantiles([a.ended - a.began for a in record.answers if a.way == way])}")


def only_of_the_killed(cluster: Cluster, killed: int, lost: list[Attempt]):
    """Each lost attempt was under way when the process was killed, or came to its address before that was known."""
    began, ended = cluster.left[killed]
    own = {cluster.rest[killed], cluster.grpc[killed]}
    balanced = {request: place for request, place, _ in cluster.balancer.balanced()}
    for attempt in lost:
        assert began <= attempt.ended and attempt.began <= ended + DETECTED, attempt
        if attempt.request in balanced:
            assert balanced[attempt.request] == killed, attempt
        elif attempt.way in ("REST", "gRPC") and attempt.address:
            assert attempt.address in own, attempt
        else:
            # Neither gRPC tells whose connection broke, nor HAProxy if it had used the connection before, which it lets
            # a caller see as such. They broke in that moment, when nobody else went.
            assert attempt.began <= ended + 0.1 and attempt.ended <= ended + 0.5, attempt
    # Else there was nothing to see.
    assert lost


def by_the_documents(documents: dict, answers: list[Attempt]):
    """Each answer is by the document that it names, of the versions in that, and no replica was long behind."""
    created = sorted((datetime.fromisoformat(d["created"]).timestamp(), r) for r, d in documents.items())
    late = [0.0]
    for answer in answers:
        arms = {arm["version"] for arm in documents[answer.revision]["arms"]}
        assert answer.version in arms, (answer, documents[answer.revision])
        followed = next((when for when, revision in created if revision > answer.revision), answer.began)
        late.append(max(0.0, answer.began - followed))
    print(f"asked after the document of the answer was replaced: {quantiles([l for l in late if l] or [0])}")
    assert max(late) < STALE
    assert {answer.revision for answer in answers} <= set(documents)


def came_ready(arrival: Arrival):
    assert arrival.revision >= arrival.expected
    assert {v: arrival.states[v] for v in arrival.needed} == dict.fromkeys(arrival.needed, "AVAILABLE")
    print(f"a new replica was ready with revision {arrival.revision} of {arrival.expected}: {quantiles(arrival.first)}")


def served_too(cluster: Cluster, place: int, first: int):
    """By the balancer, and directly."""
    balanced = [request for request, found, status in cluster.balancer.balanced() if (found, status) == (place, 200)]
    ways = Counter(request.split("-")[0] for request in balanced)
    answered = sum(answers_of(cluster.servers[place]).values())
    assert ways["REST"] and ways["gRPC"]
    assert answered > sum(ways.values()) + first


def answers_of(server) -> dict:
    metrics = server.afresh().metrics()
    return {series: n for series, n in metrics.items() if series.startswith("ocelli_requests_total{")}


def survivors_agree(cluster: Cluster):
    """And refused nothing."""
    histories = [server.afresh().traffic()["history"] for server in cluster.live()]
    assert len(histories) == 2 and histories[0] == histories[1]
    for server in cluster.live():
        answered = answers_of(server)
        assert answered and all('code="200"' in series for series in answered), answered


def test_a_rolling_restart_loses_no_request():
    """Each replica follows another one that has come before it goes: for keep-alive REST, long-lived gRPC and the
    balancer, without a retry."""
    seeded()
    with Cluster("file") as cluster:
        with Callers(cluster.doors) as callers:
            for place in range(3):
                came_ready(cluster.add((place + 3) % 4, callers.endpoints))
                time.sleep(NOTICED)
                gone = cluster.drain(place, callers.endpoints)
                assert gone.process.returncode == 0 and '"drained":true' in gone.log[-1]
        record = callers.record
        assert record.failed == [] and record.lost == []
        by_the_documents({d["revision"]: d for d in cluster.servers[3].afresh().traffic()["history"]}, record.answers)
        print(f"{len(record.answers)} answers: {dict(Counter(a.way for a in record.answers))}")


def test_a_replica_that_leaves_tells_keep_alive_connections_to_go():
    """Else a request that is sent as the connection is closed is lost."""
    with Fleet(1, lame_duck=2) as fleet:
        client = Http(fleet[0].rest)
        client.infer()
        fleet[0].process.terminate()
        until(lambda: not is_ready(fleet[0].rest), 5)
        client.socket.sendall(client.request(3.0))
        status, headers, _ = client.read()
        assert status == 200
        assert headers.get(b"connection") == b"close"


def test_a_replica_is_ready_only_when_it_has_read_the_store():
    """By the files alone it would serve what the document keeps from being served."""
    with Fleet(0) as fleet:
        kubernetes = Kubernetes(fleet.root)
        serve = lambda rest: Server(fleet.models, "kubernetes:cv/traffic", env=kubernetes.env, rest=rest)
        fleet.replicas.append(serve(ANY))
        fleet[0].weigh({5: 1})
        kubernetes.set_away(True)
        address = f"127.0.0.1:{free_port()}"
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(serve, address)
            try:
                with pytest.raises(TimeoutError):
                    until(lambda: is_ready(address), 2)
            finally:
                kubernetes.set_away(False)
                fleet.replicas.append(starting.result())
        assert Http(address).infer().version == 5
        kubernetes.close()
