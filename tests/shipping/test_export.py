"""Exported files load without this package, and give PyTorch's logits."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors
import torch
import torchvision
from safetensors.torch import load_file

from ftcourse.shipping import export as exporting
from ftcourse.shipping.export import _metadata, export
from ftcourse.shipping.inference import load_run
from ftcourse.training.checkpoints import read_header, save_model
from tests.shapes import photos, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def onnx_file(folder):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from tests.shapes import _run

    done = export(_run(), "onnx", folder / "model.onnx")
    assert done.difference <= 1e-3 and "8 photos" in done.checked_on
    return done.path


@pytest.mark.parametrize("batch", [1, 5])
def test_onnx_gives_the_logits_of_pytorch_for_any_batch(run, onnx_file, batch):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.inference_mode():
        expected = load_run(run).model.cpu()(images).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_onnx_tells_its_classes_and_how_photos_are_prepared(onnx_file):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["classes"]) == ["circle", "square", "stripes"]
    assert json.loads(meta["size"]) == 32 and json.loads(meta["resize_size"]) == 37
    assert json.loads(meta["mean"]) == [0.485, 0.456, 0.406] and len(json.loads(meta["std"])) == 3
    assert json.loads(meta["temperature"]) == 1.0
    assert not list(onnx_file.parent.glob("*.data"))  # one file that can be copied


def test_exports_tell_the_temperature_of_the_run(run, tmp_path):
    loaded = load_run(run)
    meta = {k: v for k, v in loaded.meta.items() if k != "format"} | {"temperature": 2.5}
    save_model(loaded.model, tmp_path / "model.safetensors", **meta)
    assert _metadata(load_run(tmp_path))["temperature"] == 2.5  # of ONNX
    done = export(tmp_path, "safetensors")
    assert read_header(done.path)["temperature"] == 2.5


def test_the_photos_of_a_run_are_found_from_any_folder(run, tmp_path, monkeypatch):
    (tmp_path / "project" / "photos").mkdir(parents=True)
    (tmp_path / "project" / "runs" / "one").mkdir(parents=True)
    one = tmp_path / "project" / "runs" / "one"
    (one / "report.json").write_text('{"source": "photos"}')
    monkeypatch.chdir(tmp_path)
    assert exporting.source_of(one) == str(tmp_path / "project" / "photos")
    monkeypatch.chdir(tmp_path / "project")
    assert exporting.source_of(one) == "photos"
    assert exporting.source_of(tmp_path) is None


def test_a_file_is_written_where_it_is_asked_for_and_folders_are_made(run, tmp_path):
    made = export(run, "safetensors", tmp_path / "new" / "m.safetensors").path
    assert made == tmp_path / "new" / "m.safetensors" and made.exists()
    assert export(run, "safetensors", tmp_path).path == tmp_path / "export.safetensors"


def test_the_safetensors_export_loads_with_torchvision_alone(run, folder):
    done = export(run, "safetensors", folder / "mine.safetensors")
    assert done.difference == 0
    with safetensors.safe_open(done.path, "pt") as file:
        meta = json.loads(file.metadata()["ftcourse"])
    model = torchvision.models.get_model(meta["architecture"], num_classes=len(meta["classes"]))
    model.load_state_dict(load_file(done.path))
    assert meta["classes"] == ["circle", "square", "stripes"]
    assert load_run(done.path).classes == meta["classes"]


def test_an_export_that_differs_is_an_error_and_the_earlier_file_stays(run, folder, monkeypatch):
    file = folder / "kept.safetensors"
    file.write_bytes(b"earlier")
    monkeypatch.setattr(exporting, "_compare", lambda *args: 0.5)
    with pytest.raises(ValueError, match=r"differ from PyTorch's by up to 5.0e-01"):
        export(run, "safetensors", file)
    assert file.read_bytes() == b"earlier"
    assert not list(folder.glob(".*"))


def test_logits_that_are_not_numbers_are_a_difference(run):
    images, classifier = [torch.zeros(1, 3, 32, 32)], load_run(run)
    classifier.model.cpu()
    assert not exporting._compare(classifier, lambda x: np.full((1, 3), np.nan), images) <= 1e-3


def test_without_onnx_the_extra_to_install_is_named(run, monkeypatch):
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "ftcourse\[onnx\]"'):
        export(run, "onnx")


def test_exporting_over_the_model_itself_is_refused(run):
    with pytest.raises(ValueError, match="give another --out"):
        export(run, "safetensors", run / "model.safetensors")


def test_an_unknown_format_and_a_missing_run_are_named(run, tmp_path):
    with pytest.raises(ValueError, match="'keras'"):
        export(run, "keras")
    with pytest.raises(FileNotFoundError, match="no trained model"):
        export(tmp_path, "safetensors")
