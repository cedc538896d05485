"""Sticky traffic: who has got the new version keeps it, in every replica."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import Grpc, Http

USERS = 10_000


def by_header(address: str, users) -> list[int]:
    http = Http(address)
    return http.infer_all([{"x_user": f"user-{user}"} for user in users])


def everywhere(fleet, users=range(USERS)) -> list[int]:
    """The version that each user gets, once it is sure that all replicas agree."""
    with ThreadPoolExecutor(3) as pool:
        got = list(pool.map(lambda replica: by_header(replica.rest, users), fleet))
    assert got[0] == got[1] == got[2]
    return got[0]


def test_over_a_ramp_no_user_goes_back_and_forth_and_all_replicas_agree(fleet):
    sticky = {"by": "header", "name": "X-User"}
    fleet.agree_on(fleet[0].weigh({1: 100}, sticky=sticky)["revision"])
    assert set(everywhere(fleet, range(500))) == {1}
    before, steps = [1] * USERS, {}
    for turn, percent in enumerate([10, 20, 50]):
        fleet.agree_on(fleet[turn].weigh({1: 100 - percent, 2: percent})["revision"])
        now = everywhere(fleet)
        # Who had version 2 has it still.
        assert all(b != 2 or n == 2 for b, n in zip(before, now))
        share = now.count(2) / USERS
        assert share == pytest.approx(percent / 100, abs=0.02)
        assert everywhere(fleet, range(0, USERS, 20)) == now[::20]
        before = steps[percent] = now
    # Going back puts everyone where they were.
    for turn, percent in [(1, 20), (2, 10)]:
        fleet.agree_on(fleet[turn].roll_back()["current"]["revision"])
        assert everywhere(fleet) == steps[percent]


def test_a_third_version_moves_no_user_between_the_others(fleet):
    sticky = {"by": "header", "name": "x-user"}
    users = range(3000)
    fleet.agree_on(fleet[0].weigh({1: 60, 2: 40}, sticky=sticky)["revision"])
    before = everywhere(fleet, users)
    fleet.agree_on(fleet[1].weigh({1: 50, 2: 40, 3: 10})["revision"])
    now = everywhere(fleet, users)
    assert {(b, n) for b, n in zip(before, now) if b != n} == {(1, 3)}


def test_header_cookie_query_and_metadata_with_the_same_key_lead_to_the_same_version(fleet):
    plain = [f"user-{n}" for n in range(300)]
    weights = {1: 50, 2: 30, 3: 20}
    fleet.agree_on(fleet[0].weigh(weights, sticky={"by": "header", "name": "x-user"})["revision"])
    http = [Http(replica.rest) for replica in fleet]
    grpc = [Grpc(replica.grpc) for replica in fleet]
    header = [http[0].infer(x_user=user).version for user in plain]
    assert set(header) == {1, 2, 3}
    for client in grpc:
        assert [client.infer(x_user=user).version for user in plain] == header
    # Without a key, chance.
    assert {client.infer().version for client in http + grpc for _ in range(30)} == {1, 2, 3}

    fleet.agree_on(fleet[1].set(sticky={"by": "cookie", "name": "user"})["current"]["revision"])
    for client in http:
        jar = lambda user: f'theme=dark; user="{user}"; other=1'
        assert [client.infer(cookie=jar(user)).version for user in plain] == header
    assert [grpc[2].infer(cookie=f"user={user}").version for user in plain[:50]] == header[:50]

    fleet.agree_on(fleet[2].set(sticky={"by": "query", "name": "user"})["current"]["revision"])
    for client in http:
        assert [client.infer_v2(f"?debug=1&user={user}").version for user in plain] == header

    # Another salt is another split; none at all is chance.
    salted = {"by": "query", "name": "user", "salt": "spring"}
    fleet.agree_on(fleet[0].set(sticky=salted)["current"]["revision"])
    other = [http[0].infer_v2(f"?user={user}").version for user in plain]
    assert other == [http[1].infer_v2(f"?user={user}").version for user in plain]
    assert other != header
    fleet.agree_on(fleet[0].set(sticky=None)["current"]["revision"])
    assert "sticky" not in fleet[2].traffic()["current"]
    assert len({http[0].infer_v2("?user=one").version for _ in range(60)}) == 3


def test_v1_takes_the_query_parameter_that_traffic_is_sticky_by(fleet):
    fleet[0].weigh({1: 50, 2: 50}, sticky={"by": "query", "name": "user"})
    http = Http(fleet[0].rest)
    for n in range(20):
        v1 = http.infer(path=f"/v1/models/m:predict?user=user-{n}").version
        assert v1 == http.infer_v2(f"?user=user-{n}").version


def test_match_pins_testers_whatever_the_weights_and_their_stickiness(fleet):
    match = [
        {"header": "X-Tester", "equals": "1", "version": 3},
        {"cookie": "beta", "equals": "yes", "version": 4},
    ]
    sticky = {"by": "header", "name": "x-user"}
    told = fleet[0].set(weights={"1": 50, "2": 50}, sticky=sticky, match=match)
    fleet.agree_on(told["current"]["revision"])
    for replica in fleet:
        http, grpc = Http(replica.rest), Grpc(replica.grpc)
        for n in range(50):
            user = f"user-{n}"
            assert http.infer(x_user=user).version in (1, 2)
            assert http.infer(x_user=user, x_tester="1").version == 3
            assert grpc.infer(x_user=user, x_tester="1").version == 3
            assert http.infer(x_user=user, cookie="a=b; beta=yes").version == 4
            # The first that fits.
            assert http.infer(cookie="beta=yes", x_tester="1").version == 3
            assert http.infer(x_user=user, x_tester="2", cookie="beta=no").version in (1, 2)
        # Testers stay through changes of weights, and are no part of the arms.
        assert grpc.infer(cookie="beta=yes").version == 4
    arms = fleet[0].metrics()
    assert not any("ocelli_arm_requests_total" in s and 'version="3"' in s and v for s, v in arms.items())
    fleet.agree_on(fleet[1].weigh({2: 1})["revision"])
    assert Http(fleet[2].rest).infer(x_tester="1").version == 3
    fleet.agree_on(fleet[1].set(match=[])["current"]["revision"])
    assert Http(fleet[2].rest).infer(x_tester="1").version == 2
