#!/usr/bin/env python3
"""Ocelli beside a peer on the same model and machine, taking turns; prints the ratios with their spread.

    cargo build --release --workspace
    loadtest/compare.py peers [mosec ...]   # Lite0 as a tensor, against each peer
    loadtest/compare.py tiny [mosec ...]    # a model that costs nothing: requests a CPU-second
    loadtest/compare.py raw                 # by gRPC, against the engine without a server; --model of resnet50.py
    loadtest/compare.py photos              # JPEGs of 500 KB by REST, against decoding and the engine

Both stand up at the same time; while one is measured the other is stopped (SIGSTOP), but for raw, where each run has
a start of its own. A round is ABBA, the next BAAB. Each peer gets a virtual environment of its own (peers/*.txt)
below target/compare. Ocelli computes with the library of the peer's onnxruntime (raw: --engine openvino or tract too).
Raw data go to loadtest/runs.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import ratios
import rig
import venvs
from sides import PEERS, WHEELS, Anew, Bench, Peer, Raw, Served, check, repository


def turns(a, b, args) -> list[dict]:
    """Measures both in turn."""
    runs = []
    a.pause()
    b.pause()
    for n, name in enumerate(ratios.order(args.rounds)):
        side = a if name == "a" else b
        side.resume()
        run = {"side": name, **side.measure(args.seconds, args.warmup)}
        side.pause()
        runs.append(run)
        print(f"  {n + 1}/{args.rounds * 4} {side.name}: "
              + ", ".join(f"{title} {run[key]:.4g}" for key, title, _ in ratios.MEASURES if run.get(key))
              + (f", statuses {run['statuses']}" if set(run.get("statuses", {"200"})) != {"200"} else ""),
              file=sys.stderr, flush=True)
    return runs


def compare(what: str, a, b, args, model: str, more: dict | None = None) -> dict:
    """A comparison, printed and kept."""
    before = rig.host()
    runs = turns(a, b, args)
    found = ratios.summary(runs)
    kept = ("engine", "threads", "apart", "workers", "batch", "concurrency", "rounds", "seconds", "warmup", "ocelli")
    settings = {key: getattr(args, key) for key in kept}
    told = {
        "scenario": args.scenario, "model": model, "a": a.name, "b": b.name, "host": before, "pins": b.pins,
        "settings": settings, **(more or {}), "ratios": ratios.told(found), "runs": runs,
    }
    file = rig.keep(f"{what}-{model}", told)
    out = sys.stderr if args.json else sys.stdout
    print(f"\n## {model}: {a.name} against {b.name}, asked by {a.form}\n", file=out)
    print(ratios.table(found, "Ocelli", what), file=out)
    print(f"\n{args.rounds} rounds of 4 x {args.seconds:g} s, {args.concurrency} under way, {args.threads} threads, "
          f"load average {before['load_average'][0]:.1f} before; {file.relative_to(rig.ROOT)}\n",
          file=out, flush=True)
    return told


def against_peers(model: str, small: bool, scratch: Path, args) -> list[dict]:
    """One comparison a peer. A peer that can't be had or does not start is told, and left out."""
    done = []
    for name in args.names or PEERS:
        try:
            python = venvs.python(name)
            models = repository(scratch / name, scratch, args.engine, {model: args.model})
            file = models / model / "1/model.onnx"
            way = PEERS[name].small if small else PEERS[name].large
            with Peer(name, python, file, model, scratch, args, way) as peer:
                with Served(models, model, scratch, args, way, venvs.onnxruntime(name)) as ocelli:
                    check(ocelli, peer)
                    what = name if args.workers == 1 else f"{name}-{args.workers}-workers"
                    done.append(compare(what, ocelli, peer, args, model))
        except Exception as e:
            print(f"{name}: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
            done.append({"b": name, "failed": str(e)})
    if small and (best := [told for told in done if "ratios" in told]):
        best = max(best, key=lambda told: told["ratios"]["per_cpu_second"]["b"])
        of = best["ratios"]["per_cpu_second"]
        print(f"the best peer by answers a CPU-second is {best['b']}, {of['b']:.0f}: Ocelli gives "
              f"{of['a_over_b']['median']:.2f} times that", file=sys.stderr if args.json else sys.stdout)
    return done


def peers(scratch: Path, args) -> list[dict]:
    return against_peers("lite0", False, scratch, args)


def tiny(scratch: Path, args) -> list[dict]:
    args.model = scratch / "models/tiny"
    return against_peers("tiny", True, scratch, args)


def raw(scratch: Path, args) -> list[dict]:
    """By gRPC, against `ocelli bench`, and against the engine in Python with as many callers."""
    # It goes by the name that is in the samples, whatever it is.
    models = repository(scratch / "raw", scratch, args.engine, {"lite0": args.model})
    library = venvs.onnxruntime("raw")
    ocelli = Anew("grpc", lambda form: Served(models, "lite0", scratch, args, form, library))
    limits = [Bench(models / "lite0", args, library)]
    if args.engine in WHEELS:
        limits.append(Raw(models / "lite0/1/model.onnx", args).best())
    named = "lite0" if args.model == rig.DEMO else args.model.name
    what = f"{args.engine}-apart" if args.apart else args.engine
    return [compare(f"{limit.kind}-{what}", ocelli, limit, args, named) for limit in limits]


def photos(scratch: Path, args) -> list[dict]:
    """A photo to labels by REST, against the same by hand, and against what engine and decoder allow."""
    models = repository(scratch / "photos", scratch, args.engine, {"lite0": args.model})
    # By hand, Pillow decodes only as large as is needed, too.
    settings = models / "lite0/model.toml"
    settings.write_text(settings.read_text().replace("[input]\n", '[input]\ndecode = "scaled"\n', 1))
    library = venvs.onnxruntime("raw")
    with Served(models, "lite0", scratch, args, "photo", library) as ocelli:
        by_hand = Raw(models / "lite0/1/model.onnx", args, photo=scratch / "photo.jpg").best()
        decode = ocelli.decode_seconds()
        engine = Bench(models / "lite0", args, library).measure(args.seconds, args.warmup)["per_second"]
        limit = args.threads / (args.threads / engine + decode)
        told = compare("photos", ocelli, by_hand, args, "lite0", {
            "decode_ms": decode * 1e3, "engine_per_second": engine, "limit_per_second": limit,
        })
    share = told["ratios"]["per_second"]["a"] / limit
    print(f"engine alone {engine:.1f}/s, Ocelli's decoding {decode * 1e3:.2f} ms: so at most {limit:.1f}/s, of "
          f"which {share:.3f} is served", file=sys.stderr if args.json else sys.stdout)
    return [told]


SCENARIOS = {f.__name__: f for f in (peers, tiny, raw, photos)}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("names", nargs="*", metavar="peer", help=f"of {', '.join(PEERS)}; all of them if none is named")
    parser.add_argument("--model", type=Path, default=rig.DEMO, help="a model's directory, in place of the demo's")
    parser.add_argument("--engine", default="onnxruntime", help="Ocelli's; '' says nothing in model.toml")
    parser.add_argument("--threads", type=int, help="that compute; the cores, or 1 for tiny")
    parser.add_argument("--workers", type=int, default=1,
                        help="a peer's processes, which share the threads; not MLServer's nor PyTriton's")
    parser.add_argument("--apart", action="store_true",
                        help="the load generator has the last core, and what is measured has the others")
    parser.add_argument("--batch", type=int, default=8, help="requests joined at most, by both")
    parser.add_argument("--concurrency", type=int, default=8, help="requests under way")
    parser.add_argument("--rounds", type=int, default=4, help="of four runs")
    parser.add_argument("--seconds", type=float, default=8, help="of a run")
    parser.add_argument("--warmup", type=float, default=2, help="seconds before each run")
    parser.add_argument("--ocelli", action="append", default=[], metavar="FLAG", help="another flag for `ocelli serve`")
    parser.add_argument("--json", metavar="FILE", help="what came out, without the tables; - is stdout")
    args = parser.parse_args(given)
    unknown = set(args.names) - set(PEERS)
    if unknown:
        parser.error(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    cores = rig.apart() if args.apart else len(os.sched_getaffinity(0))
    if args.threads is None:
        args.threads = 1 if args.scenario == "tiny" else cores
    return args


def main() -> None:
    args = arguments()
    scratch = Path(tempfile.mkdtemp(prefix="ocelli-compare-"))
    try:
        rig.samples(venvs.python("raw"), scratch)
        told = SCENARIOS[args.scenario](scratch, args)
    finally:
        shutil.rmtree(scratch)
    if args.json:
        text = json.dumps(told, indent=1) + "\n"
        sys.stdout.write(text) if args.json == "-" else Path(args.json).write_text(text)
    if any("failed" in of for of in told):
        sys.exit(1)


if __name__ == "__main__":
    main()
