"""The engine without a server: what serving is held against. Prints a run's figures as JSON.

CALLERS wait each for their own answer, as clients do; so many INSTANCES compute at once, each with its
session of so many THREADS. With --photo each call decodes a JPEG first, as one would by hand.
"""

import argparse
import io
import json
import queue
import resource
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image


def onnxruntime(model: str, threads: int):
    """A model's input shape for one row, and what computes its first output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    return [1, *given.shape[1:]], lambda x: session.run(None, {given.name: x})[0]


def openvino(model: str, threads: int):
    """The same in f32; OpenVINO takes bf16 by itself where the processor has it."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    shape = [1, *(side.get_length() for side in list(compiled.inputs[0].partial_shape)[1:])]
    return shape, lambda x: request.infer([x])[0]


def tract(model: str, threads: int):
    """The same by tract's own wheel, optimised for one row as Ocelli has it; a run has one thread."""
    import tract

    assert threads == 1, "tract runs on one thread here"
    loaded = tract.onnx().load(model)
    shape = [1, *(int(side) for side in str(loaded.input_fact(0)).split(",")[1:-1])]
    loaded.set_input_fact(0, ",".join(map(str, shape)) + ",f32")
    loaded.set_output_fact(0, None)
    loaded.analyse()
    runnable = loaded.into_model().into_runnable()
    return shape, lambda x: runnable.run([x])[0].to_numpy()


ENGINES = {f.__name__: f for f in (onnxruntime, openvino, tract)}


def decode(photo: bytes, size: int) -> np.ndarray:
    """The centre's square, scaled and normalised as models/efficientnet_lite0/model.toml says. Pillow's
    `draft` decodes only as large as is needed."""
    picture = Image.open(io.BytesIO(photo))
    picture.draft("RGB", (round(size / 0.875), round(size / 0.875)))
    side = min(picture.size) * 0.875
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    scaled = picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box)
    return ((np.asarray(scaled, np.float32) - 127) / 128).transpose(2, 0, 1)[None].copy()


def measure(args) -> dict:
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    photo = Path(args.photo).read_bytes() if args.photo else None
    fixed = np.random.default_rng(1)

    def compute() -> None:
        shape, infer = ENGINES[args.engine](args.model, args.threads)
        x = fixed.normal(0, 1, shape).astype(np.float32)
        while (call := waiting.get()) is not None:
            infer(decode(photo, shape[-1]) if photo else x)
            call.release()

    workers = [threading.Thread(target=compute) for _ in range(args.instances)]
    for worker in workers:
        worker.start()
    calls: list[list[tuple[float, float]]] = [[] for _ in range(args.callers)]
    cpu = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    begin = time.monotonic() + args.warmup
    end = begin + args.seconds

    def call(own: list[tuple[float, float]]) -> None:
        answered = threading.Semaphore(0)
        while (start := time.monotonic()) < end:
            waiting.put(answered)
            answered.acquire()
            own.append((start, time.monotonic()))

    callers = [threading.Thread(target=call, args=(own,)) for own in calls]
    for caller in callers:
        caller.start()
    time.sleep(max(0, begin - time.monotonic()))
    used = -cpu()
    for caller in callers:
        caller.join()
    used += cpu()
    for _ in workers:
        waiting.put(None)
    # As the load generator has it: an answer counts for the time it came in, its duration if it was asked for
    # after the warm-up.
    start, done = np.array([one for own in calls for one in own]).T
    asked = start >= begin
    took = (done - start)[asked]
    return {
        "per_second": int(((begin <= done) & (done <= end)).sum()) / args.seconds,
        "p50_ms": float(np.percentile(took, 50)) * 1e3,
        "p99_ms": float(np.percentile(took, 99)) * 1e3,
        "per_cpu_second": int(asked.sum()) / used,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--engine", choices=ENGINES, default="onnxruntime")
    parser.add_argument("--photo")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--warmup", type=float, default=1)
    print(json.dumps(measure(parser.parse_args())))
