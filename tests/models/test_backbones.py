"""Loading a backbone: from the package, from a file, from a server, and what is said when it fails."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import threading
import time
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

import ftcourse as ft
from ftcourse.models import backbones
from ftcourse.models.states import open_state


def test_the_pocket_backbone_is_a_plain_torchvision_resnet18():
    model = ft.load_backbone("resnet18")
    assert type(model) is models.ResNet
    assert not model.training
    assert model.fc.out_features == 200
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 200)
    plain = models.resnet18(num_classes=200)
    plain.load_state_dict(model.state_dict())  # the same names and shapes


def test_pocket_weights_follow_torchvisions_convention():
    weights = ft.weights_of(ft.load_backbone("resnet18"))
    assert weights is ft.ResNet18_Pocket_Weights.DEFAULT
    assert len(weights.meta["categories"]) == 200
    assert weights.meta["num_params"] == sum(p.numel() for p in ft.load_backbone().parameters())
    assert 0 < weights.meta["_metrics"]["Tiny ImageNet val, 64x64"]["acc@1"] < 100
    size = weights.meta["crop_size"]
    x = weights.transforms()(torch.full((3, 200, 150), 255, dtype=torch.uint8))
    assert x.shape == (3, size, size)
    assert x[0].max() == pytest.approx((1 - 0.485) / 0.229, abs=1e-4)


def test_replace_head_makes_a_new_trainable_layer_of_the_same_kind():
    model = ft.freeze(ft.load_backbone("resnet18", weights=None).double())
    assert ft.replace_head(model, 7) is model
    assert model.fc.out_features == 7
    assert model.fc.weight.dtype == torch.float64
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "densenet121"])
def test_heads_and_groups_of_other_models_cover_each_parameter_once(name):
    model = ft.replace_head(ft.load_backbone(name, weights=None), 3)
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    groups = ft.layer_groups(model)
    assert list(groups)[-1] == "head"
    ids = [id(p) for modules in groups.values() for m in modules for p in m.parameters()]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


def test_a_head_of_one_class_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        ft.replace_head(ft.load_backbone("resnet18", weights=None), 1)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet19", "pocket", "resnet19"),
        ("resnet50", "pocket", "resnet18 only, not for resnet50"),
        ("resnet18", "IMAGENET1K_V9", "'pocket', None, IMAGENET1K_V1"),
    ],
)
def test_unknown_names_are_refused_with_what_is_known(name, weights, message):
    with pytest.raises(ValueError, match=message):
        ft.load_backbone(name, weights=weights)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_back_from_a_file_with_the_head_they_had(tmp_path, suffix):
    model = ft.load_backbone("resnet18", weights=None, num_classes=5)
    path = tmp_path / f"mine{suffix}"
    write = save_file if suffix == ".safetensors" else torch.save
    write(model.state_dict(), path)
    again = ft.load_backbone("resnet18", weights=path)
    assert again.fc.out_features == 5
    assert torch.equal(again.layer4[0].conv1.weight, model.layer4[0].conv1.weight)


def test_a_wrapped_state_dict_of_a_parallel_model_is_understood(tmp_path):
    state = models.resnet18(num_classes=4).state_dict()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "a.pth"
    )
    assert ft.load_backbone("resnet18", weights=tmp_path / "a.pth").fc.out_features == 4


class Bomb:
    def __reduce__(self):
        return (print, ("boom: a file ran code",))


def test_a_file_that_would_run_code_is_refused_unopened(tmp_path, capsys):
    torch.save({"fc.weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(ValueError, match=r"bomb\.pth: holds more than tensors"):
        ft.load_backbone("resnet18", weights=tmp_path / "bomb.pth")
    assert "boom" not in capsys.readouterr().out


def test_damaged_missing_and_unfitting_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        ft.load_backbone("resnet18", weights=tmp_path / "gone.pth")
    for name in ("bad.safetensors", "bad.pth"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(ValueError, match=name):
            ft.load_backbone("resnet18", weights=tmp_path / name)
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: these weights do not fit this ResNet"):
        ft.load_backbone("resnet18", weights=tmp_path / "other.pth")


@pytest.fixture
def server(tmp_path):
    """A server on loopback that offers the files of a folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return tmp_path / "hub" / "hub" / "checkpoints"


def serve(folder, state, digest=None):
    torch.save(state, folder / "net.pth")
    digest = digest or hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest()[:8]
    return (folder / "net.pth").rename(folder / f"net-{digest}.pth").name


def test_a_download_is_checked_kept_and_used_again_without_the_server(server, hub):
    folder, address = server
    name = serve(folder, {"w": torch.ones(3)})
    assert torch.equal(
        open_state(backbones._download(f"{address}/{name}")).read()["w"], torch.ones(3)
    )
    (folder / name).unlink()
    assert torch.equal(
        open_state(backbones._download(f"{address}/{name}")).read()["w"], torch.ones(3)
    )
    assert (hub / name).exists()


def test_a_download_with_another_hash_is_refused_and_not_kept(server, hub):
    folder, address = server
    name = serve(folder, {"w": torch.ones(3)}, digest="00000000")
    with pytest.raises((ValueError, ConnectionError), match="net-00000000"):
        backbones._download(f"{address}/{name}")
    assert not (hub / name).exists()


def test_more_than_the_known_size_is_not_downloaded(server, hub):
    folder, address = server
    name = serve(folder, {"w": torch.ones(3000)})
    with pytest.raises(ValueError, match=r"sends more than the 1000 bytes.*nothing was kept"):
        backbones._download(f"{address}/{name}", most=1000)
    assert list(hub.iterdir()) == []
    assert backbones._size_of(models.ResNet18_Weights.DEFAULT) >= 46_830_571  # its size


def test_a_server_that_sends_letter_by_letter_is_left(hub, monkeypatch):
    monkeypatch.setattr(backbones, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    while True:
                        connection.sendall(b"H")
                        time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/net-12345678.pth"
        with pytest.raises(ConnectionError, match=r"no answer within.*use weights='pocket'"):
            backbones._download(address)


def test_a_damaged_file_in_the_cache_is_found(server, hub):
    hub.mkdir(parents=True)
    (hub / "net-12345678.pth").write_bytes(b"half")
    with pytest.raises(ValueError, match="is damaged; remove it"):
        backbones._download("http://127.0.0.1:9/net-12345678.pth")


def test_without_a_network_one_sentence_says_what_to_do(hub, monkeypatch):
    enum = models.get_model_weights("resnet18")
    url = enum.DEFAULT.url.rsplit("/", 1)[-1]
    monkeypatch.setattr(backbones, "_url_of", lambda weights: f"http://127.0.0.1:9/{url}")
    with pytest.raises(ConnectionError, match="use weights='pocket'") as caught:
        ft.load_backbone("resnet18", weights="DEFAULT")
    assert len(str(caught.value).splitlines()) == 1
    assert url in str(caught.value)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_network_normalises_its_input_by_itself_where_its_weights_were_trained_so(
    name, tmp_path, monkeypatch
):
    torch.save(
        models.get_model(name, weights=None, init_weights=False).state_dict(), tmp_path / "net.pth"
    )
    monkeypatch.setattr(backbones, "_download", lambda url, most=None: tmp_path / "net.pth")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # torchvision's, about how it draws random weights
        assert ft.load_backbone(name, "DEFAULT").transform_input
        assert not ft.load_backbone(name, None).transform_input
