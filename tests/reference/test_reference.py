"""Holds the running server against onnxruntime, an independent engine, on every photo.

golden.json holds the top five that onnxruntime gave for some of them when the demo model was made.
"""

import json
import os
import subprocess
import unittest
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "tests/data/photos"
GOLDEN = json.loads((ROOT / "tests/reference/golden.json").read_text())["top5"]
BINARY = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
SIZE = 224


def photos() -> list[tuple[str, Path]]:
    """Every photo, under the name that the golden file may have for it."""
    files = sorted(p for p in PHOTOS.iterdir() if p.suffix in (".png", ".jpg"))
    return [(file.stem.removesuffix("_left"), file) for file in files]


def pixels(path: Path) -> np.ndarray:
    """The golden file's recipe, by PIL: what the model was made to see."""
    image = Image.open(path).convert("RGB")
    side = int(min(image.size) * SIZE / 256)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.BICUBIC)
    scaled = (np.asarray(image, dtype=np.float32) - 127) / 128
    return scaled.transpose(2, 0, 1)


class Reference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        command = [BINARY, "serve", "--models", ROOT / "models", "--log-format", "json"]
        command += ["--rest-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]
        cls.server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in cls.server.stderr:
            told = json.loads(line)
            if told["message"] == "serving":
                cls.url = f"http://{told['rest']}/v1/models/efficientnet_lite0:predict"
            if told["message"] == "ready":
                break
        else:
            raise RuntimeError("the server did not start")
        model = ROOT / "models/efficientnet_lite0/1/model.onnx"
        cls.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        cls.input = cls.session.get_inputs()[0].name

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.stderr.close()
        cls.server.wait()

    def post(self, body: bytes, kind: str, query: str = "") -> list:
        request = urllib.request.Request(self.url + query, body, {"content-type": kind})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["predictions"]

    def test_logits_agree_on_the_same_pixels(self):
        names = [name for name, _ in photos()]
        self.assertLessEqual(set(GOLDEN), set(names))
        rows = np.stack([pixels(file) for _, file in photos()])
        expected = self.session.run(None, {self.input: rows})[0]
        body = json.dumps({"instances": rows.tolist()}).encode()
        got = np.array(self.post(body, "application/json"), dtype=np.float64)
        self.assertEqual(got.shape, expected.shape)
        for name, ours, theirs in zip(names, got, expected):
            # A logit near zero is what is left of larger numbers that cancel, so it has no
            # relative error to speak of: 1e-5 is what rounding those leaves.
            off = np.abs(ours - theirs)
            error = off / (np.abs(theirs) + 1e-2)
            print(f"{name}: a logit is off by {error.max():.1e} of itself, {off.max():.1e}, at most")
            self.assertLess(error.max(), 1e-3, f"{name}: logit {error.argmax()}")
            top = np.argsort(-ours, kind="stable")[:5]
            self.assertEqual(top.tolist(), np.argsort(-theirs, kind="stable")[:5].tolist(), name)
            golden = [(index, score) for index, _, score in GOLDEN.get(name, [])]
            self.assertEqual(top.tolist()[: len(golden)], [index for index, _ in golden], name)
            for index, score in golden:
                self.assertAlmostEqual(ours[index], score, delta=1e-3 * abs(score) + 1e-3)

    def test_the_server_sees_what_pil_sees(self):
        for name, file in photos():
            kind = "image/jpeg" if file.suffix == ".jpg" else "image/png"
            answer = self.post(file.read_bytes(), kind)[0]
            ours = np.array(self.post(file.read_bytes(), kind, "?output=tensors")[0])
            theirs = self.session.run(None, {self.input: pixels(file)[None]})[0][0]
            shift = np.abs(ours - theirs).max()
            print(f"{name}: {answer[0]['label']}; the logits move by {shift:.3f} at most")
            self.assertEqual(answer[0]["index"], theirs.argmax(), f"{name}: {answer}")
            if name in GOLDEN:
                index, label, _ = GOLDEN[name][0]
                self.assertEqual((answer[0]["index"], answer[0]["label"]), (index, label))


if __name__ == "__main__":
    unittest.main(verbosity=1)
