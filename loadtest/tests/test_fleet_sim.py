"""The simulator: its model of a server against what the server's own tests and documents say, its traffic, its fleet."""

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import simulate
import traces
from fleet_sim import SIGNALS, Fleet, Life, Signal, World
from scenarios import CUSTOMARY, scenarios
from server_sim import Cost, Rate, Replica, Server

PLAIN = Server((Cost(0.0, 0.03),), slo=0.3, noise=0.0)


def replica(**made) -> Replica:
    return Replica(Server(**{"costs": PLAIN.costs, "slo": 0.3, "noise": 0.0, **made}), random.Random(1))


def test_a_steady_stream_has_its_rate_and_is_forgotten():
    # As src/batcher/demand.rs tests it.
    rate = Rate(1.0)
    assert rate.per_second(0.0) == 0.0
    for i in range(200):
        rate.add(0.5, i * 0.01)
    assert rate.per_second(2.0) == pytest.approx(50, abs=1)
    assert rate.per_second(7.0) < 0.5


def test_a_batch_may_take_half_the_objective():
    assert PLAIN.full(0) == 5
    assert Server((Cost(0.06, 0.01),), slo=1.0, max_batch=16).full(0) == 16
    assert Server((Cost(0.5, 0.1),), slo=0.3).full(0) == 1


def test_capacity_is_what_full_batches_do_and_decoding_bounds_it():
    assert PLAIN.capacity() == pytest.approx(1 / 0.03)
    assert Server((Cost(0.06, 0.01),), slo=1.0, max_batch=16).capacity() == pytest.approx(16 / 0.22)
    crowded = Server(PLAIN.costs, slo=0.3, beside=0.01)
    assert crowded.capacity() == pytest.approx(25)
    assert Server(PLAIN.costs, slo=0.3, beside=0.01, cpus=2.0).capacity() == pytest.approx(1 / 0.03)
    assert Server((Cost(0, 0.001),), slo=0.3, decode=0.019).capacity() == pytest.approx(50)


def test_batches_grow_by_the_servers_rule():
    # rule.rs: batch(4, 1, waiting, load 0) of two threads, one idle, is 6 for 16 and 12 for 64, at most 32.
    for waiting, rows in ((16, 6), (64, 12)):
        r = replica(costs=(Cost(4.0, 1.0),), slo=1e6, threads=2, max_batch=32, max_queue=999)
        r.ends = [99.0]
        r.lanes[0].extend([0.0] * waiting)
        assert r.rows(0.0, 0) == rows


def test_who_would_be_late_is_refused_and_counts_as_load():
    r = replica()
    assert r.admits(0.0, 0.0, 0)
    assert r.begin(0.0) == (pytest.approx(0.03), [0.0], 0)
    taken = 0
    while r.admits(0.0, 0.0, 0):
        taken += 1
    # Until 0.85 of 0.3 s: the row under way and a full batch. The next would be in the batch after that.
    assert taken == 5
    assert r.refused.sum == pytest.approx(0.03)
    assert not r.admits(0.0, 0.0, 0)
    assert r.refused.sum == pytest.approx(0.06)


def test_the_first_of_an_idle_queue_is_never_refused():
    assert replica(costs=(Cost(0.0, 9.0),)).admits(0.0, 0.0, 0)


def test_load_is_work_by_capacity_and_small_batches_are_none():
    made = Server((Cost(0.06, 0.01),), slo=1.0, max_batch=16, noise=0.0)
    arrivals = traces.steady(200, 0.5).arrivals(made.capacity(), 1)
    fleet = Fleet(World(made, least=1, most=1), Signal("load", 0.7), 1)
    seen = []
    fleet.at(100.0, lambda now: seen.append((fleet.pods[0].replica.load(now), fleet.pods[0].replica.cpu_seconds)))
    fleet.run(arrivals, 200)
    load, cpu = seen[0]
    # Half of what full batches could do, though the thread is busy for more of the time than that.
    assert load == pytest.approx(0.5, abs=0.12)
    assert cpu / 100 > 0.75


def test_load_tells_the_height_of_a_flood():
    made = Server(PLAIN.costs, slo=0.3, noise=0.0)
    fleet = Fleet(World(made, least=1, most=1), Signal("load", 0.7), 1)
    seen = []
    fleet.at(60.0, lambda now: seen.append(fleet.pods[0].replica.load(now)))
    out = fleet.run(traces.steady(60.5, 4.0).arrivals(made.capacity(), 1), 60.5)
    assert seen[0] == pytest.approx(4.2, abs=0.4)
    assert out.violated == pytest.approx(0.75, abs=0.03)


def test_stolen_time_takes_capacity_and_no_cpu():
    made = Server(PLAIN.costs, slo=0.3, noise=0.0)
    slow = Replica(made, random.Random(1), slower=2.0)
    assert slow.admits(0.0, 0.0, 0)
    end, batch, _ = slow.begin(0.0)
    assert (end, batch) == (pytest.approx(0.06), [0.0])
    assert slow.cpu_seconds == pytest.approx(0.03)


def test_a_picture_waits_for_a_decoder_and_more_than_there_is_room_for_are_refused():
    r = replica(costs=(Cost(0.0, 0.001),), decode=0.019, cpus=1.0, slo=10.0)
    ends = [r.decode(0.0, 0) for _ in range(65)]
    assert ends[:2] == [pytest.approx(0.02), pytest.approx(0.04)]
    assert ends[63] == pytest.approx(1.28) and ends[64] is None
    assert r.cpu_seconds == pytest.approx(64 * 0.019)


def test_pictures_count_as_load_and_those_that_would_wait_too_long_are_refused():
    r = replica(costs=(Cost(0.0, 0.001),), decode=0.019, cpus=1.0, slo=0.2)
    # 0.85 of the objective is aimed at, 20 ms a picture, and one to compute.
    taken = [r.decode(0.0, 0) for _ in range(20)]
    assert sum(end is not None for end in taken) == 8 and taken[8:] == [None] * 12
    assert r.load(0.0) == pytest.approx(8 * 0.019 + r.refused.per_second(0.0))
    assert r.refused.per_second(0.0) > 12 * 0.02
    for end in taken[:8]:
        r.decoded(end)
    assert r.decoding == 0 and r.load(0.2) == pytest.approx(r.spent.per_second(0.2) + r.refused.per_second(0.2))
    assert r.spent.per_second(0.2) == pytest.approx(0.95, rel=0.2)


def test_traffic_is_poisson_of_its_rate_and_the_same_for_a_seed():
    trace = traces.diurnal(3600, 1, 6)
    arrivals = trace.arrivals(10, 7)
    assert arrivals == trace.arrivals(10, 7) != trace.arrivals(10, 8)
    assert len(arrivals) == pytest.approx(trace.mean() * 36000, rel=0.02)
    assert trace.rate(0) == 1 and trace.rate(1200) > 4 and max(map(trace.rate, range(3600))) <= trace.peak
    night = sum(t < 300 for t in arrivals)
    noon = sum(1200 <= t < 1500 for t in arrivals)
    assert noon > 3 * night


def test_a_crowd_comes_stays_and_goes():
    crowd = traces.flash(1000, 2, 8, at=100, rise=20, stays=50, fades=100)
    assert [crowd.rate(t) for t in (0, 99, 110, 120, 150)] == [2, 2, 5, 8, 8]
    assert crowd.rate(270) == pytest.approx(2 + 6 / 2.71828, abs=0.01)
    assert traces.faster(crowd, 5).rate(22) == crowd.rate(110)


def test_bursts_have_two_levels_and_their_share_of_the_time():
    bursts = traces.bursty(100_000, 1, 5, calm=30, burst=10, seed=1)
    rates = [bursts.rate(t) for t in range(100_000)]
    assert set(rates) == {1, 5}
    assert rates.count(5) / 100_000 == pytest.approx(0.25, abs=0.03)


def run(signal: str, target: float, trace, server=PLAIN, **world):
    fleet = Fleet(World(server, **world), Signal(signal, target), 1)
    return fleet.run(trace.arrivals(server.capacity(), 1), trace.seconds)


@pytest.mark.parametrize("signal", SIGNALS)
def test_every_signal_finds_the_replicas_of_a_steady_load(signal):
    target = 0.7 * PLAIN.capacity() if signal == "RPS" else 0.7
    out = run(signal, target, traces.steady(900, 4.0))
    # 4 / 0.7 = 5.7, and up to a tenth more or less is tolerated. It begins with two, and what it then took too many
    # it keeps for five minutes.
    assert out.history[-1][1] in (6, 7)
    assert out.replica_seconds == pytest.approx(900 * 6, rel=0.2)


def test_a_fleet_that_does_not_grow_violates_what_it_can_not_do():
    out = run("load", 0.7, traces.steady(120, 4.0), least=2, most=2)
    assert out.violated == pytest.approx(0.5, abs=0.03)
    assert out.replica_seconds == pytest.approx(240)
    assert sum(out.violations) == out.refused + out.late


def test_pods_that_start_serve_nobody_and_cost_already():
    out = run("load", 0.7, traces.steady(60, 4.0), start=1000.0)
    assert {serving for _, _, serving in out.history} == {2}
    assert out.replica_seconds > 2 * 60 + 20


def test_cpu_saturates_where_load_goes_on():
    fleet = Fleet(World(PLAIN, least=1, most=1), Signal("CPU", 0.7), 1)
    fleet.run(traces.steady(100, 3.0).arrivals(PLAIN.capacity(), 1), 100)
    fleet.pods = [Life(fleet.pods[0].replica, 0.0, 0.0, fleet.pods[0].scrapes)]
    # 1 / 0.7 rounded up, against 3 / 0.7.
    assert SIGNALS["CPU"](fleet, 100.0, 0.7) == 2
    assert SIGNALS["load"](fleet, 100.0, 0.7) >= 4
    assert SIGNALS["load and CPU"](fleet, 100.0, 0.7) == SIGNALS["load"](fleet, 100.0, 0.7)
    assert SIGNALS["load and CPU"](fleet, 100.0, 9.0) == 2


def test_the_recorded_costs_make_every_scenario():
    recorded = json.loads(simulate.newest_costs().read_text())["models"]
    made = scenarios(recorded)
    assert len(made) == 8
    heavy = made["heavier version"]
    first, second = heavy.world.server.costs
    assert second.row > 1.3 * first.row
    assert [heavy.world.version(t) for t in (0, 1500, 1700, 3000)] == [0, 0.05, 0.25, 1.0]
    assert heavy.target("RPS", 0.5) == pytest.approx(heavy.world.server.capacity() / 2)
    assert heavy.target("CPU", 0.5) == 0.5
    # Decoding is what bounds the thumbnails, so compute alone is far from its capacity.
    server = made["decoding"].world.server
    assert server.decode > 3 * server.costs[0].row


def test_a_world_may_be_set_otherwise():
    world = simulate.changed(World(PLAIN), up_window=15.5, window=20)
    assert (world.behaviour.up.window, world.behaviour.down.window, world.window) == (15.5, 300, 20)
    assert world.behaviour.up.policies == World(PLAIN).behaviour.up.policies
    assert simulate.changed(World(PLAIN)) == World(PLAIN)


def test_the_best_target_is_the_cheapest_that_is_allowed():
    found = [{"scenario": "s", "signal": "CPU", "target": t, "violated": v, "replica_hours": h}
             for t, v, h in ((0.5, 0.001, 9.0), (0.6, 0.009, 7.0), (0.7, 0.02, 5.0))]
    assert simulate.cheapest(found, "s", "CPU", 0.01)["target"] == 0.6
    assert simulate.cheapest(found, "s", "CPU", 0.0001) is None


def test_a_scenario_is_played_and_told():
    recorded = json.loads(simulate.newest_costs().read_text())["models"]
    runs = [simulate.play((recorded, "one thread of two CPUs", "CPU", 0.7, seed, {})) for seed in (1, 2)]
    assert all(r["violated"] > 0.3 for r in runs), "it never sees more than half"
    (mean,) = simulate.mean(runs)
    assert mean["violated"] == pytest.approx((runs[0]["violated"] + runs[1]["violated"]) / 2)
    assert "history" in runs[0] and "history" not in runs[1]
    assert all(signal in SIGNALS for signal, _ in simulate.SETTINGS.values())
    assert list(CUSTOMARY) == list(simulate.SIGNALS)
