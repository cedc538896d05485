"""Who may change traffic from where, and documents that are offered."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest

from clients import Http
from fleet import BINARY, Refused, Server, put_model, scratch


def serve(models, *flags: str) -> subprocess.CompletedProcess:
    """What it says where it refuses to start."""
    command = [BINARY, "serve", "--models", models, "--rest-addr", "127.0.0.1:0"]
    command += ["--grpc-addr", "127.0.0.1:0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=10)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8502"])
def test_admin_elsewhere_than_on_loopback_without_keys_refuses_to_start(address):
    models = scratch()
    put_model(models, "m", [1])
    refused = serve(models, "--admin-addr", address)
    assert refused.returncode not in (0, None)
    assert "--admin-addr is open to the network: give --keys-file" in refused.stderr
    variable = subprocess.run(
        [BINARY, "serve", "--models", models, "--rest-addr", "127.0.0.1:0"],
        env={"OCELLI_ADMIN_ADDR": address}, capture_output=True, text=True, timeout=10,
    )
    assert variable.returncode != 0 and "--keys-file" in variable.stderr


def test_admin_elsewhere_with_keys_asks_for_one_with_the_right_to():
    root = scratch()
    (root / "models").mkdir()
    put_model(root / "models", "m", [1])
    tokens = {}
    with (root / "keys.toml").open("w") as keys:
        for name in ("predict", "admin"):
            command = [BINARY, "keys", "new", "--name", f"the-{name}", "--right", name]
            made = subprocess.run(command, capture_output=True, text=True, check=True)
            keys.write(made.stdout)
            tokens[name] = made.stderr.split()[-1]
    flags = ("--keys-file", str(root / "keys.toml"))
    server = Server(root / "models", root / "store", *flags, admin="0.0.0.0:0")
    try:
        port = server.admin_address.rsplit(":", 1)[1]
        url = f"http://127.0.0.1:{port}/admin/v1/models/m/traffic"

        def put(token: str | None) -> int:
            request = urllib.request.Request(url, b'{"weights": {"1": 1}}', method="PUT")
            if token:
                request.add_header("Authorization", f"Bearer {token}")
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        assert [put(None), put("x" + tokens["admin"]), put(tokens["predict"])] == [401, 401, 403]
        assert not list((root / "store").glob("m/*.json"))
        assert put(tokens["admin"]) == 200
        stored = json.loads(next((root / "store/m").glob("*.json")).read_text())
        assert stored["document"]["author"] == "the-admin"
    finally:
        server.kill()


def test_a_document_offered_is_adopted_if_newer_and_never_if_older(fleet):
    one, two = fleet[0], fleet[1]
    old = one.weigh({1: 1}, reason="old")
    now = one.weigh({2: 1}, reason="now")
    fleet.agree_on(2)
    assert two.offer(old) == {"model": "m", "revision": 2, "adopted": False}
    # The same number is no newer, whatever it says.
    assert two.offer({**old, "revision": 2}) == {"model": "m", "revision": 2, "adopted": False}
    assert two.split() == {2: 10000} and Http(two.rest).infer().version == 2
    assert two.traffic()["history"] == [old, now]
    newer = {**old, "revision": 3, "reason": "offered", "slots": [[4, 10000]]}
    newer["arms"] = [{"version": 4, "weight": 10000}]
    assert two.offer(newer) == {"model": "m", "revision": 3, "adopted": True}
    assert Http(two.rest).infer().version == 4
    # It was offered to that one alone.
    assert one.revision() == 2 and Http(one.rest).infer().version == 2


def test_an_offer_that_is_no_document_is_refused(fleet):
    document = fleet[0].weigh({1: 1})
    bad = {**document, "revision": 9, "arms": [{"version": 1, "weight": 1}]}
    for offered in [bad, {"revision": 9}, {**document, "revision": -1}, []]:
        with pytest.raises(Refused) as refused:
            fleet[0].offer(offered)
        assert refused.value.status == 400
    with pytest.raises(Refused) as refused:
        fleet[0].offer(document, model="other")
    assert refused.value.status == 404
    assert fleet[0].revision() == 1


def test_after_an_offer_that_the_store_never_saw_changes_go_on_and_the_fleet_is_one(fleet):
    document = fleet[0].weigh({1: 1})
    fleet.agree_on(1)
    ahead = {**document, "revision": 7, "arms": [{"version": 3, "weight": 10000}]}
    assert fleet[1].offer({**ahead, "slots": [[3, 10000]]})["adopted"]
    assert fleet[1].weigh({2: 1})["revision"] == 8
    fleet.agree_on(8)


def test_an_offer_that_overtakes_the_store_leaves_no_gap_to_roll_back_over(fleet):
    """`ocelli traffic --replicas` offers only the newest document. A change that somebody made just before
    through the API alone, and that this replica has not heard of yet, must not get lost to it."""
    first = fleet[0].weigh({1: 1})
    fleet.agree_on(1)
    third = {**first, "revision": 3, "arms": [{"version": 3, "weight": 10000}], "slots": [[3, 10000]]}
    assert fleet[1].offer(third)["adopted"]
    fleet[0].weigh({2: 1})
    fleet[0].weigh({3: 1})
    fleet.agree_on(3)
    fleet.agree_on(3)
    assert [d["revision"] for d in fleet[0].traffic()["history"]] == [1, 2, 3]
    assert [d["revision"] for d in fleet[1].traffic()["history"]] == [1, 2, 3]
    assert fleet[1].roll_back()["current"]["restores"] == 2
