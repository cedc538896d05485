"""The autoscaler's algorithm, against what the documentation of Kubernetes works out."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hpa import Behaviour, Controller, Pod, Policy, Rules, desired, desired_of_sum


def pods(*values):
    return [Pod(v) for v in values]


def test_twice_the_target_doubles_and_half_of_it_halves():
    # "if the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled, since
    # 200.0 / 100.0 == 2.0. If the current value is instead 50m, you'll halve the number of replicas"
    assert desired(pods(200, 200), 100, 0.1) == 4
    assert desired(pods(50, 50, 50, 50), 100, 0.1) == 2


def test_the_blog_on_tolerances_fifty_replicas_at_ninety_of_seventy_five():
    # 50 * 90 / 75 = 60
    assert desired(pods(*[90] * 50), 75, 0.1) == 60


def test_a_ratio_near_one_changes_nothing():
    assert desired(pods(109, 109, 109), 100, 0.1) == 3
    assert desired(pods(91, 91, 91), 100, 0.1) == 3
    assert desired(pods(111, 111, 111), 100, 0.1) == 4
    assert desired(pods(111, 111, 111), 100, 0.2) == 3


def test_a_mean_that_floating_point_made_a_little_larger_asks_for_no_replica_more():
    assert desired(pods(0.7 * 3, 0.0, 0.0), 0.35, 0.1) == 6
    assert desired_of_sum(0.1 + 0.2, 1, 0.1, 0.1) == 3


def test_pods_that_did_not_start_dampen_a_scale_up():
    # Of two at 200 alone, 4; with one that has not started, mean 133 of 3: 4; with two, mean 100: within the tolerance.
    starting = Pod(None, ready=False)
    assert desired([*pods(200, 200), starting], 100, 0.1) == 4
    assert desired([*pods(200, 200), starting, starting], 100, 0.1) == 4
    assert desired([*pods(200, 200), *[starting] * 3], 100, 0.1) == 5, "it does not turn round"
    # And are left out of a scale-down.
    assert desired([*pods(20, 20), starting, starting], 100, 0.1) == 1


def test_pods_without_a_value_slow_the_change_down_both_ways():
    silent = Pod(None)
    assert desired([*pods(300, 300), silent], 100, 0.1) == 6
    assert desired([*pods(50, 50), silent], 100, 0.1) == 2
    # For CPU they count as using all that they requested, so 2 * 20 and 100 of 50: a ratio of 0.93.
    assert desired([*pods(20, 20), silent], 50, 0.1, missing_down=100) == 3
    assert desired([silent, silent], 100, 0.1) is None


def test_an_external_metric_is_a_sum_for_all():
    assert desired_of_sum(2.8, 2, 0.7, 0.1) == 4
    assert desired_of_sum(1.45, 2, 0.7, 0.1) == 2
    assert desired_of_sum(0.3, 4, 0.7, 0.1) == 1


def steps(controller, current, proposal, count, every=15.0):
    found = []
    for n in range(count):
        current = controller.step(n * every, current, proposal)
        found.append(current)
    return found


def test_eighty_replicas_lose_ten_percent_a_minute_and_at_last_four():
    # "if there are 80 replicas and the target has to be scaled down to 10 replicas then during the first step 8 replicas
    # will be reduced. In the next iteration when the number of replicas is 72, 10% of the pods is 7.2 but the number is
    # rounded up to 8 ... When the number of replicas falls below 40 the first policy (Pods) is applied and 4 replicas
    # will be reduced at a time."
    down = Rules(0, (Policy("Pods", 4, 60), Policy("Percent", 10, 60)))
    found = steps(Controller(Behaviour(down=down), 1, 100), 80, 10, 14, every=60.0)
    assert found == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10]
    least = Rules(0, (Policy("Pods", 4, 60), Policy("Percent", 10, 60)), select="Min")
    assert steps(Controller(Behaviour(down=least), 1, 100), 80, 10, 1) == [76]
    off = Rules(0, (Policy("Pods", 4, 60),), select="Disabled")
    assert steps(Controller(Behaviour(down=off), 1, 100), 80, 10, 2) == [80, 80]


def test_a_policy_counts_what_was_done_in_its_period():
    down = Rules(0, (Policy("Pods", 4, 60),))
    assert steps(Controller(Behaviour(down=down), 1, 100), 20, 1, 6, every=15.0) == [16, 16, 16, 16, 12, 12]


def test_up_by_four_or_twice_as_many_every_fifteen_seconds():
    # "4 Pods or a 100% of the currently running replicas may at most be added every 15 seconds"
    assert steps(Controller(Behaviour(), 1, 100), 1, 60, 5) == [5, 10, 20, 40, 60]
    assert steps(Controller(Behaviour(), 1, 30), 1, 60, 5) == [5, 10, 20, 30, 30]
    # Asked twice within the period, it goes no farther.
    assert steps(Controller(Behaviour(), 1, 100), 1, 60, 3, every=7.0) == [5, 5, 5]


def test_down_only_to_the_highest_of_five_minutes():
    controller = Controller(Behaviour(), 1, 20)
    assert controller.step(0, 10, 10) == 10
    assert controller.step(15, 10, 6) == 10
    assert controller.step(30, 10, 2) == 10
    # The 10 is no longer of the last 300 s, then the 6.
    assert controller.step(301, 10, 2) == 6
    assert controller.step(316, 6, 2) == 2


def test_what_an_autoscaler_finds_counts_as_asked_for():
    controller = Controller(Behaviour(), 1, 20)
    assert [controller.step(t, 8, 2) for t in (0, 150, 299)] == [8, 8, 8]
    assert controller.step(301, 8, 2) == 2


def test_up_only_to_the_lowest_of_a_window():
    controller = Controller(Behaviour(up=Rules(60, (Policy("Percent", 1000, 15),))), 1, 20)
    assert [controller.step(t, 2, p) for t, p in ((0, 2), (15, 9), (30, 5), (61, 7), (76, 7))] == [2, 2, 2, 5, 5]
    assert controller.step(91, 5, 7) == 7


def test_bounds_hold_and_nothing_known_changes_nothing():
    controller = Controller(Behaviour(), 2, 4)
    assert controller.step(0, 3, None) == 3
    assert controller.step(0, 3, 9) == 4
    assert controller.step(400, 4, 1) == 4 - 2
    assert controller.step(800, 2, 1) == 2


def test_times_may_be_shorter():
    fast = Behaviour().faster(5)
    assert (fast.sync, fast.down.window, fast.up.policies[1]) == (3, 60, Policy("Pods", 4, 3))
    assert fast.tolerance == 0.1
    with pytest.raises(ValueError, match="Pods or Percent"):
        Policy("Pod", 4, 15)
