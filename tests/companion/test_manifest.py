"""Test that pretrained files agree with the manifest, and that a difference is reported in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from paperlib import pretrained, reproduction
from paperlib._support import determinism
from paperlib._support.files import read_json, read_npz, write_json, write_npz
from paperlib.companion.pretrained import manifest
from paperlib.learning.targets import scattering_length_target
from paperlib.learning.training import TrainingConfig, train_ensemble

NETWORKS = manifest.read()["networks"]


def test_the_manifest_has_the_hash_of_every_pretrained_network():
    shipped = {path.stem for path in manifest.MANIFEST.parent.glob("*.npz")}
    # running times, and results of other libraries
    measured = {"accuracy", "own_network", "performance"}
    assert NETWORKS.keys() == shipped - measured
    for name, entry in NETWORKS.items():
        assert (
            manifest.digest(manifest.MANIFEST.parent / f"{name}.npz") == entry["sha256"]
        )


def test_the_stored_records_used_the_pretrained_networks():
    folder = Path(__file__).parents[2] / "figures" / "numbers"
    records = [reproduction.read_record(path) for path in sorted(folder.glob("*.json"))]
    assert sum(bool(record.networks) for record in records) == 5
    assert all(
        record.networks.items() <= {n: e["sha256"] for n, e in NETWORKS.items()}.items()
        for record in records
    )


def test_the_manifest_has_the_configuration_of_every_ensemble():
    for name, entry in NETWORKS.items():
        if "weights_0" in read_npz(manifest.MANIFEST.parent / f"{name}.npz", ()):
            assert {"target", "seeds", "steps", "fit"} <= entry[
                "configuration"
            ].keys(), name


def test_running_times_do_not_change_the_hash(tmp_path):
    write_npz(tmp_path / "a.npz", weights=np.ones(3), seconds=np.ones(2))
    write_npz(tmp_path / "b.npz", weights=np.ones(3), seconds=np.zeros(2))
    write_npz(
        tmp_path / "c.npz", weights=np.nextafter(np.ones(3), 2), seconds=np.ones(2)
    )
    a, b, c = (manifest.digest(tmp_path / f"{name}.npz") for name in "abc")
    assert a == b != c


def test_another_file_under_the_name_is_refused(tmp_path):
    shutil.copy(
        manifest.MANIFEST.parent / "signed.npz", tmp_path / "scattering_lengths.npz"
    )
    with pytest.raises(
        ValueError,
        match="^[^\n]*scattering_lengths.npz: the SHA-256 of its arrays must be that in manifest.json[^\n]*$",
    ):
        manifest.verify(tmp_path / "scattering_lengths.npz")


@pytest.mark.parametrize("found", ["abc", "A" * 64, 7, None])
def test_a_hash_of_another_format_is_refused(tmp_path, found):
    content = json.loads(manifest.MANIFEST.read_text())
    content["networks"]["signed"]["sha256"] = found
    write_json(tmp_path / "manifest.json", content)
    with pytest.raises(
        ValueError,
        match="^[^\n]*: 'signed': sha256 = [^\n]*; must be 64 hexadecimal digits$",
    ):
        manifest.read(tmp_path / "manifest.json")
    write_json(tmp_path / "manifest.json", {"networks": {}})
    with pytest.raises(
        ValueError, match="^[^\n]*: must be a manifest, with the fields [^\n]*$"
    ):
        manifest.read(tmp_path / "manifest.json")


def test_networks_trained_again_are_identical_or_the_reason_is_given(
    tmp_path, monkeypatch
):
    (tmp_path / "networks").mkdir()
    shutil.copy(manifest.MANIFEST.parent / "signed.npz", tmp_path / "networks")
    arrays = read_npz(manifest.MANIFEST.parent / "box_1.npz", ())
    write_npz(
        tmp_path / "networks" / "box_1.npz", **arrays | {"loss": arrays["loss"] * 2}
    )
    monkeypatch.setattr(
        determinism, "departures", lambda: "a processor of another kind"
    )
    other, same = reproduction.compare_networks(tmp_path)
    assert same.name == "signed" and same.passed and same.note == "identical"
    assert (
        other.name == "box_1"
        and not other.passed
        and "a processor of another kind" in other.note
    )


def test_numbers_of_identical_networks_are_compared_by_tolerance(tmp_path):
    """Check that the seed-to-seed variation sets the allowed difference only if the bits of the networks differ."""

    def record(folder, value, retrained):
        numbers = {"error": reproduction.Number(value, "")}
        reproduction.record(
            "01_test",
            tmp_path / folder,
            numbers=numbers,
            figures={},
            networks=["box"],
            retrained=retrained,
        )

    def passed():
        (verdict,) = reproduction.compare(tmp_path / "new", tmp_path / "stored")
        return verdict.passed

    record("stored", 2.0, False)
    write_json(
        tmp_path / "stored" / "seed_variation.json", {"01_test": {"error": [1.0, 2.0]}}
    )
    shutil.copytree(manifest.MANIFEST.parent, tmp_path / "new" / "networks")
    record("new", 2.5, True)
    assert not passed()
    arrays = read_npz(tmp_path / "new" / "networks" / "box_2.npz", ())
    write_npz(
        tmp_path / "new" / "networks" / "box_2.npz",
        **arrays | {"biases_0": arrays["biases_0"] + 1},
    )
    record("new", 2.5, True)
    assert passed()


def test_pretrained_networks_come_from_one_run(tmp_path):
    (tmp_path / "trained").mkdir()
    shutil.copy(manifest.MANIFEST.parent / "signed.npz", tmp_path / "trained")
    with pytest.raises(
        ValueError,
        match="^[^\n]*: has no born_attractive_1.npz; must have all pretrained networks[^\n]*$",
    ):
        pretrained.ship(tmp_path / "trained")
    made = manifest.ship(tmp_path / "trained", tmp_path / "manifest.json")
    assert [path.name for path in made] == ["signed.npz"]
    written = read_json(tmp_path / "manifest.json")
    assert written["networks"] == {"signed": NETWORKS["signed"]}


def test_an_ensemble_is_trained_again_from_its_configuration_alone(
    tmp_path, monkeypatch
):
    config = TrainingConfig(
        d=4,
        hidden=(8,),
        samples=64,
        batch=16,
        steps=8,
        warmup=1,
        validation=16,
        seeds=(3,),
        optimizer="adam",
    )
    target = scattering_length_target()
    written = {
        "networks": {"signed": {"configuration": json.loads(config.written(target))}}
    }
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "read", lambda: written)
        path = pretrained.train_again("signed", tmp_path)
    train_ensemble(config, target).save(tmp_path / "expected.npz")
    assert manifest.digest(path) == manifest.digest(tmp_path / "expected.npz")
    with pytest.raises(
        ValueError,
        match="^name = 'born_signed_2': must be one of [^\n]*'born_signed_1'[^\n]*$",
    ):
        pretrained.train_again("born_signed_2", "nowhere")
