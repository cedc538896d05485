#!/usr/bin/env python3
"""Records what a real server's batches cost, for `loadtest simulate` to reckon with.

    loadtest/costs.py                                   # the demo model and the classifiers of tests/data
    loadtest/costs.py --models DIR NAME=BODY ...        # and others: of a repository, each with a request's body

Each model has a server of its own with one compute thread. Closed loops of 1, 2, 4, 8 and 32 clients make batches of all
sizes; then the server says what it learnt (ocelli_batch_cost_seconds). The CPU time of the threads that don't compute is
what a request costs beside. Kept in loadtest/runs.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import rig

CLIENTS = (1, 2, 4, 8, 32)
FASHION = {"student": "fashion_student_plain", "mid": "fashion_mid_plain", "teacher": "fashion_teacher"}


def fashion(root: Path) -> dict[str, Path]:
    """The classifiers of tests/data as a repository, and a picture for them."""
    body = root / "picture.json"
    picture = [[[(x * y % 17) / 8.5 - 1 for x in range(28)] for y in range(28)]]
    body.write_text(json.dumps({"instances": [picture]}))
    for name, file in FASHION.items():
        (root / "models" / name / "1").mkdir(parents=True)
        shutil.copy(rig.ROOT / f"tests/data/fashion/{file}.onnx", root / "models" / name / "1/model.onnx")
    return {name: body for name in FASHION}


def beside(pid: int) -> float:
    """CPU seconds of a server's threads, but for those that compute."""
    total = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        name, fields = (thread / "stat").read_text().rsplit(")", 1)
        if "ocelli-compute" not in name:
            total += sum(int(ticks) for ticks in fields.split()[11:13]) / rig.TICKS
    return total


def record(models: Path, model: str, body: Path, seconds: float) -> dict:
    """What the server knows of a model's cost after the loops."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(models / model, Path(scratch) / "models" / model)
        with rig.Server(Path(scratch) / "models", "--compute-threads", "1") as server:
            before, loops = beside(server.process.pid), {}
            for clients in CLIENTS:
                flags = ("--concurrency", str(clients), "--duration", f"{seconds}s", "--warmup", "1s")
                loops[clients] = server.load(model, body, *flags)
            metrics = server.metrics()
            spent = beside(server.process.pid) - before
    of = lambda name: metrics[f'{name}{{model="{model}",version="1"}}']
    rows = of("ocelli_batch_rows_sum")
    # Metrics have each family's labels in its own order.
    cost = {part: metrics[f'ocelli_batch_cost_seconds{{model="{model}",part="{part}",version="1"}}']
            for part in ("fixed", "row")}
    return {
        **cost,
        "beside": spent / rows,
        "rows_per_batch": rows / of("ocelli_compute_duration_seconds_count"),
        "loops": {n: {k: loop[k] for k in ("good_per_second", "statuses", "ok")} for n, loop in loops.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", type=Path, help="a directory of models as `ocelli serve` takes it")
    parser.add_argument("--seconds", type=float, default=4, help="of each loop")
    parser.add_argument("asked", nargs="*", metavar="NAME=BODY")
    args = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="ocelli-costs-"))
    try:
        work = [(rig.DEMO.parent, rig.DEMO.name, rig.PHOTO)]
        work += [(scratch / "models", name, body) for name, body in fashion(scratch).items()]
        work += [(args.models, *pair.split("=", 1)) for pair in args.asked]
        before, found = rig.host(), {}
        for models, name, body in work:
            found[name] = record(models, name, Path(body), args.seconds)
            cost = found[name]
            print(f"{name}: {cost['fixed'] * 1e3:.3f} + {cost['row'] * 1e3:.3f} b ms, beside "
                  f"{cost['beside'] * 1e3:.3f} ms of CPU a row", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(scratch)
    print(rig.keep("costs", {"host": before, "clients": CLIENTS, "seconds": args.seconds, "models": found}))


if __name__ == "__main__":
    main()
