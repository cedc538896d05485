"""The parts of the measuring scripts that need no server.

    python -m pytest loadtest/tests
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import batching
import compare
import ratios
import rig
import sides
import soak
import venvs
from ratios import Spread


def run(side: str, **measures: float) -> dict:
    return {"side": side, **measures}


def test_rounds_turn_around():
    assert "".join(ratios.order(3)) == "abba" "baab" "abba"


def test_a_drift_weighs_on_both_sides_alike():
    # The machine gets slower by one a run; b does what a does.
    runs = [run(side, per_second=100 - n) for n, side in enumerate(ratios.order(2))]
    a, b = ratios.sides(runs, "per_second")
    assert a == [100, 97, 95, 94] and b == [99, 98, 96, 93]
    assert sum(a) == sum(b)


def test_ratios_are_of_neighbours_and_chance_is_of_the_same_side():
    runs = [run("a", p99_ms=10), run("b", p99_ms=20), run("b", p99_ms=40), run("a", p99_ms=30)]
    assert ratios.against(runs, "p99_ms") == [0.5, 0.75]
    assert ratios.chance(runs, "p99_ms") == [3.0]


def test_a_spread_is_a_median_between_quartiles():
    assert Spread.of([4, 1, 2, 3, 5]) == Spread(2, 3, 4)
    assert Spread.of([7]) == Spread(7, 7, 7)
    assert str(Spread(0.5, 1, 2)) == "1.000 (0.500 to 2.000)"


def test_a_measure_that_one_side_lacks_is_left_out():
    runs = [run("a", per_second=6, p99_ms=1), run("b", per_second=3), run("b", per_second=3), run("a", per_second=6)]
    found = ratios.summary(runs)
    assert list(found) == ["per_second"]
    assert found["per_second"]["a_over_b"] == Spread(2, 2, 2)
    assert ratios.told(found)["per_second"]["a_over_a"] == {"q1": 1, "median": 1, "q3": 1}
    assert "| answers/s (more is better) | 6 | 3 | 2.000 (2.000 to 2.000) | 1.000 (1.000 to 1.000) |" in ratios.table(
        found, "Ocelli", "peer")


def test_what_a_process_started_is_found_by_its_line():
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1}
    assert rig.descendants({10}, parents) == [10, 11, 12]
    assert rig.descendants({20, 11}, parents) == [11, 12, 20]
    assert rig.descendants({99}, parents) == []


def test_cpu_time_counts_processes_that_were_born_meanwhile():
    assert rig.grown({1: 5.0, 2: 1.0}, {1: 6.5, 3: 0.25}) == 1.75


def test_a_processor_is_told_with_the_instructions_that_matter():
    text = "processor : 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f amx_tile\n"
    assert rig.cpu_model(text) == ("Some CPU", ["avx2", "avx512f", "amx_tile"])


def test_an_answer_is_read_in_every_form_there_is():
    row = [[1.0, 2.5]]
    v2 = {"outputs": [{"name": "y", "data": [1.0, 2.5]}]}
    assert [sides.numbers(a) for a in ({"predictions": row}, v2, {"y": row}, row)] == [[1.0, 2.5]] * 4


def test_answers_agree_by_every_number():
    assert sides.agree([1.0, -100.0], [1.05, -100.0])
    assert not sides.agree([1.0, -100.0], [1.2, -100.0])
    assert not sides.agree([1.0], [1.0, 2.0])


def test_every_peer_has_its_file_and_its_pins():
    for name, kind in sides.PEERS.items():
        assert (venvs.PEERS / f"{name}_peer.py").exists()
        assert all("==" in pin for pin in venvs.pins(name)), name
        assert kind.small in sides.PEER and kind.small in sides.OCELLI
        assert kind.large in sides.PEER and kind.large in sides.OCELLI


def test_a_model_is_told_its_engine_before_the_tables_of_its_file(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.toml").write_text("[input]\nkind = 'image'\n")
    (tmp_path / "root").mkdir()
    root = sides.repository(tmp_path / "root", tmp_path, "onnxruntime", {"m": source})
    assert (root / "m/model.toml").read_text().splitlines()[:2] == ['engine = "onnxruntime"', "[input]"]


def test_arguments():
    args = compare.arguments(["tiny", "mosec", "--rounds", "2"])
    assert (args.scenario, args.names, args.threads, args.rounds) == ("tiny", ["mosec"], 1, 2)
    with pytest.raises(SystemExit):
        compare.arguments(["tiny", "nobody"])


def test_memory_is_told_in_windows_that_are_whole():
    samples = [(0, 10), (1, 20), (2, 30), (10, 7), (15, 9), (20, 100)]
    assert soak.windows(samples, 10) == [20, 8]
    assert soak.windows(samples, 10, min) == [10, 7]


def test_flat_and_not_flat():
    # One window that the machine spoilt is no trend.
    flat = soak.verdict([100, 101, 100.5, 100, 120, 100, 101], [200, 300, 150, 200, 201, 202, 203], [5, 5, 5.2, 9, 5.1, 5, 5])
    assert flat["memory_flat"] and flat["p99_flat"]
    assert flat["rest_swing"] == pytest.approx(0.2) and flat["peak_thirds"] == [250, 200, 202.5]
    leak = soak.verdict([100, 102, 104], [200] * 3, [5, 6, 7])
    assert not leak["memory_flat"] and not leak["p99_flat"]
    assert leak["rest_apart"] == pytest.approx(0.04) and leak["p99_apart"] == pytest.approx(0.4)
    # What comes back at the end was not flat in the middle.
    assert not soak.verdict([100, 104, 100], [200] * 3, [5] * 3)["memory_flat"]


def test_what_age_adds_is_told_by_turns_beside_a_fresh_server():
    # The machine was slow in the second turn of both: that is not age.
    found = soak.aged_over_fresh([10, 30, 11], [10, 31, 10])
    assert found == {"median": 1, "least": pytest.approx(30 / 31), "most": pytest.approx(1.1), "flat": True}
    assert not soak.aged_over_fresh([12, 36, 12], [10, 31, 10])["flat"]


def test_the_best_setting_is_chosen_by_the_other_rounds():
    of = {"tuned": [10, 10, 10], "1, 0 ms": [10, 11, 12], "8, 0 ms": [5, 20, 20], "32, 0 ms": [1, 1, 1]}
    runs = [{"round": n, "setting": name, "good": 50 if name.startswith("32") else 100, "p99": p99}
            for name, values in of.items() for n, p99 in enumerate(values)]
    # That of 32 answers less, and that of 8 was lucky once, which must not count in the round of its luck.
    assert batching.best_fixed(runs) == "1, 0 ms"
    found = batching.against_best(runs)
    assert [one["best"] for one in found] == ["1, 0 ms"] * 3
    assert [one["p99"] for one in found] == pytest.approx([1, 10 / 11, 10 / 12])
    assert batching.against_best(runs[:0]) == []


def test_replacing_gives_the_file_another_inode_and_the_same_bytes(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    before = model.stat().st_ino
    soak.replace(model)
    assert model.read_bytes() == b"weights" and model.stat().st_ino != before
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
