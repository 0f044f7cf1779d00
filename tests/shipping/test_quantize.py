"""Eight-bit files are a quarter as large, and what they cost is measured."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import json
import shutil

import pytest
import torch

from ftcourse.shipping.export import export
from ftcourse.shipping.inference import labelled, load_run
from tests.shapes import photos, run

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

from ftcourse.shipping.quantize import quantize


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    from tests.shapes import _run

    return quantize(_run(), tmp_path_factory.mktemp("int8") / "small.onnx")


def test_the_file_is_about_a_quarter_as_large(done, run, tmp_path):
    float32 = export(run, "onnx", tmp_path / "model.onnx").path.stat().st_size / 1e6
    assert float32 / 4.5 < done.megabytes < float32 / 3.5


def test_what_it_says_of_its_cost_is_what_the_file_does(done, run):
    import onnxruntime

    classifier = load_run(run)
    source = json.loads((run / "report.json").read_text())["source"]
    val = labelled(classifier, source, "val", "raise")
    images = torch.stack([val[i][0] for i in range(len(val))])
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    hits = logits.argmax(1) == torch.tensor(val.targets).numpy()
    assert done.photos == len(val) and done.accuracy == pytest.approx(hits.mean())
    assert done.agreement >= 0.8


def test_the_metadata_go_along(done):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["classes"]) == ["circle", "square", "stripes"]
    assert json.loads(meta["temperature"]) == 1.0


def test_without_the_report_the_photos_must_be_named(run, tmp_path):
    shutil.copy(run / "model.safetensors", tmp_path)
    with pytest.raises(FileNotFoundError, match="photos to calibrate with are unknown"):
        quantize(tmp_path)


def test_a_model_file_and_folders_serve_as_well_as_a_run_and_a_file(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "there").mkdir()
    made = [
        quantize(tmp_path / "run" / "model.safetensors"),
        quantize(tmp_path / "run", tmp_path / "new" / "small.onnx"),
        quantize(tmp_path / "run", tmp_path / "there"),
    ]
    expected = ["run/model-int8.onnx", "new/small.onnx", "there/model-int8.onnx"]
    assert [q.path.relative_to(tmp_path).as_posix() for q in made] == expected
    assert all(q.path.exists() for q in made)


def test_beside_the_file_lies_how_it_is_used_and_nothing_else(done):
    found = sorted(p.name for p in done.path.parent.iterdir())
    assert found == ["preprocessor_config.json", "small.onnx", "use_model.py"]
