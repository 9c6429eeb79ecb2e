from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from generator.errors import GeneratorError
from generator.published import PublishedEvaluator
from generator.words import PARTS_OF_SPEECH, WordVectors, read_plain_pickle

WORDS = ["unk", "sos", "eos", "a", "man", "walk", "slowly", "person"]
CAPTIONS = [
    ["a/DET", "man/NOUN", "walk/VERB", "slowly/ADV"],
    ["a/DET", "person/NOUN"],
    ["walk/VERB"] * 26,
    ["zebra/NOUN"],
]


# The published files, as named and shaped in the checkpoint of the authors; the values are random.


def gru_shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        f"gru.{kind}_{side}_l0{way}": (3 * hidden, hidden) if kind == "weight" else (3 * hidden,)
        for kind in ("weight", "bias")
        for side in ("ih", "hh")
        for way in ("", "_reverse")
    }


def linear_shapes(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def sequence_shapes(into: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        "hidden": (2, 1, hidden),
        **linear_shapes("input_emb", hidden, into),
        **gru_shapes(hidden),
        **linear_shapes("output_net.0", hidden, 2 * hidden),
        "output_net.1.weight": (hidden,),
        "output_net.1.bias": (hidden,),
        **linear_shapes("output_net.3", 512, hidden),
    }


def checkpoint(width: int, seed: int = 0) -> dict[str, dict[str, Tensor]]:
    shapes = {
        "movement_encoder": {
            "main.0.weight": (512, width - 4, 4),
            "main.0.bias": (512,),
            "main.3.weight": (512, 512, 4),
            "main.3.bias": (512,),
            **linear_shapes("out_net", 512, 512),
        },
        "motion_encoder": sequence_shapes(512, 1024),
        "text_encoder": sequence_shapes(300, 512) | linear_shapes("pos_emb", 300, 15),
    }
    draw = torch.Generator().manual_seed(seed)
    return {
        name: {key: 0.05 * torch.randn(shape, generator=draw) for key, shape in group.items()}
        for name, group in shapes.items()
    }


def write_published(root: Path, folder: str, width: int, state: Mapping[str, object]) -> None:
    model, meta = (
        root / "checkpoints" / folder / "text_mot_match/model",
        root / "checkpoints" / folder / "Comp_v6_KLD005/meta",
    )
    for place in (model, meta, root / "glove"):
        place.mkdir(parents=True, exist_ok=True)
    extras = {"opt_text_encoder": torch.optim.Adam([torch.zeros(2)]).state_dict(), "epoch": 39, "iter": 1000}
    torch.save({**state, **extras}, model / "finest.tar")
    rng = np.random.default_rng(1)
    np.save(meta / "mean.npy", rng.normal(size=width).astype(np.float32))
    np.save(meta / "std.npy", np.r_[0.0005, rng.uniform(0.1, 1, size=width - 1)].astype(np.float32))
    np.save(root / "glove/our_vab_data.npy", rng.normal(size=(len(WORDS), 300)))
    (root / "glove/our_vab_words.pkl").write_bytes(pickle.dumps(WORDS))
    (root / "glove/our_vab_idx.pkl").write_bytes(pickle.dumps({word: row for row, word in enumerate(WORDS)}))


@pytest.fixture(scope="module")
def state() -> dict[str, dict[str, Tensor]]:
    return checkpoint(263)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, state: dict[str, dict[str, Tensor]]) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_published(folder, "t2m", 263, state)
    return folder


@pytest.fixture(scope="module")
def evaluator(root: Path) -> PublishedEvaluator:
    return PublishedEvaluator.load(root)


def motions(*lengths: int, width: int = 263) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=(length, width)).astype(np.float32) for length in lengths]


# The source's computation, written down again without modules, packing or batches.


def plain_sequence(weights: Mapping[str, Tensor], sequence: Tensor) -> Tensor:
    """[S, D] -> [512], step by step."""

    def step(x: Tensor, h: Tensor, way: str) -> Tensor:
        into = F.linear(x, weights[f"gru.weight_ih_l0{way}"], weights[f"gru.bias_ih_l0{way}"]).chunk(3)
        back = F.linear(h, weights[f"gru.weight_hh_l0{way}"], weights[f"gru.bias_hh_l0{way}"]).chunk(3)
        reset, update = torch.sigmoid(into[0] + back[0]), torch.sigmoid(into[1] + back[1])
        return (1 - update) * torch.tanh(into[2] + reset * back[2]) + update * h

    embedded = F.linear(sequence, weights["input_emb.weight"], weights["input_emb.bias"])
    forward, backward = weights["hidden"][:, 0]
    for x in embedded:
        forward = step(x, forward, "")
    for x in embedded.flip(0):
        backward = step(x, backward, "_reverse")
    out = F.linear(torch.cat([forward, backward]), weights["output_net.0.weight"], weights["output_net.0.bias"])
    out = F.layer_norm(out, out.shape, weights["output_net.1.weight"], weights["output_net.1.bias"])
    return F.linear(F.leaky_relu(out, 0.2), weights["output_net.3.weight"], weights["output_net.3.bias"])


def plain_motion(state: Mapping[str, Mapping[str, Tensor]], normalised: Tensor) -> NDArray[np.float32]:
    """[T, 263] -> [512]: the original's frames, zeros up to 196."""
    weights, units = state["movement_encoder"], len(normalised) // 4
    x = F.pad(normalised[: 4 * units, :-4], (0, 0, 0, 196 - 4 * units)).T[None]
    for name in ("main.0", "main.3"):
        x = F.leaky_relu(F.conv1d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2, padding=1), 0.2)
    movement = F.linear(x[0].T, weights["out_net.weight"], weights["out_net.bias"])
    assert len(movement) == 49
    return plain_sequence(state["motion_encoder"], movement[:units]).numpy()


def test_motion_embeddings_are_the_original_computation(
    root: Path, evaluator: PublishedEvaluator, state: dict[str, dict[str, Tensor]]
) -> None:
    meta = root / "checkpoints/t2m/Comp_v6_KLD005/meta"
    mean, std = np.load(meta / "mean.npy"), np.load(meta / "std.npy")
    given = motions(40, 63, 196, 199)
    expected = [plain_motion(state, torch.from_numpy((motion - mean) / std)) for motion in given]
    found = evaluator.encode_motion(given)
    assert found.shape == (4, 512) and found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.01  # else the comparison could not fail


def test_text_embeddings_are_the_original_computation(
    root: Path, evaluator: PublishedEvaluator, state: dict[str, dict[str, Tensor]]
) -> None:
    vectors, weights = np.load(root / "glove/our_vab_data.npy").astype(np.float32), state["text_encoder"]
    rows = ["sos", "a", "man", "walk", "slowly", "eos"]
    tags = ["OTHER", "DET", "NOUN", "Act_VIP", "Desc_VIP", "OTHER"]  # two words are a class of their own
    words = torch.from_numpy(vectors[[WORDS.index(word) for word in rows]])
    speech = F.one_hot(torch.tensor([PARTS_OF_SPEECH.index(tag) for tag in tags]), 15).float()
    expected = plain_sequence(weights, words + F.linear(speech, weights["pos_emb.weight"], weights["pos_emb.bias"]))
    found = evaluator.encode_text([CAPTIONS[1], CAPTIONS[0]])
    assert found.dtype == np.float32
    assert np.allclose(found[1], expected.numpy(), atol=1e-5)


def test_a_batch_gives_what_its_members_give_alone_in_their_order(
    evaluator: PublishedEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = motions(44, 196, 40, 120, 63)
    monkeypatch.setattr("generator.published.BATCH", 3)
    together = evaluator.encode_motion(given)
    assert np.allclose(together, np.concatenate([evaluator.encode_motion([motion]) for motion in given]), atol=1e-5)
    assert np.allclose(together[::-1], evaluator.encode_motion(given[::-1]), atol=1e-5)
    texts = evaluator.encode_text(CAPTIONS)
    assert np.allclose(texts, np.concatenate([evaluator.encode_text([tokens]) for tokens in CAPTIONS]), atol=1e-5)
    assert np.abs(texts[0] - texts[1]).max() > 1e-3


def test_every_unit_is_read_and_lengths_are_divided_once(evaluator: PublishedEvaluator) -> None:
    (motion,) = motions(163)
    whole = evaluator.encode_motion([motion])
    for frame, read in ((0, True), (41, True), (80, True), (159, True), (160, False), (162, False)):
        changed = motion.copy()
        changed[frame] += 3
        assert (np.abs(evaluator.encode_motion([changed]) - whole).max() > 1e-6) == read, frame


def test_contacts_are_not_looked_at(evaluator: PublishedEvaluator) -> None:
    (motion,) = motions(60)
    changed = motion.copy()
    changed[:, -4:] = 9
    assert np.array_equal(evaluator.encode_motion([motion]), evaluator.encode_motion([changed]))


def test_nothing_in_gives_nothing_out(evaluator: PublishedEvaluator) -> None:
    assert evaluator.encode_motion([]).shape == evaluator.encode_text([]).shape == (0, 512)


def test_sequences_do_not_see_what_pads_them(evaluator: PublishedEvaluator) -> None:
    sequence, lengths = torch.randn(3, 20, 512), torch.tensor([5, 20, 9])
    with torch.inference_mode():
        whole = evaluator.motion_encoder(sequence, lengths)
        sequence[0, 5:] = torch.nan
        sequence[2, 9:] = 1e3
        assert torch.allclose(whole, evaluator.motion_encoder(sequence, lengths))


def test_safetensors_hold_the_same_evaluator(
    root: Path, tmp_path: Path, evaluator: PublishedEvaluator, state: dict[str, dict[str, Tensor]]
) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.tar"))
    model = tmp_path / "checkpoints/t2m/text_mot_match/model"
    save_file(
        {f"{name}.{key}": value for name, g in state.items() for key, value in g.items()}, model / "finest.safetensors"
    )
    other = PublishedEvaluator.load(tmp_path)
    assert other.fingerprint == evaluator.fingerprint != ""
    assert np.array_equal(other.encode_motion(motions(48)), evaluator.encode_motion(motions(48)))
    np.save(tmp_path / "checkpoints/t2m/Comp_v6_KLD005/meta/mean.npy", np.zeros(263, np.float32))
    assert PublishedEvaluator.load(tmp_path).fingerprint != evaluator.fingerprint


def test_kit_is_loaded_by_name(tmp_path: Path) -> None:
    write_published(tmp_path, "kit", 251, checkpoint(251))
    kit = PublishedEvaluator.load(tmp_path, "kit")
    assert kit.encode_motion(motions(24, width=251)).shape == (1, 512)
    with pytest.raises(GeneratorError, match=r"motion 0 has shape \(24, 263\), not \[T, 251\]"):
        kit.encode_motion(motions(24))


# Words


def words_of(found: tuple[NDArray[np.float32], NDArray[np.float32], int]) -> list[str]:
    return [PARTS_OF_SPEECH[row.argmax()] for row in found[1][: found[2]]]


def test_words_are_framed_cropped_and_classed(root: Path) -> None:
    words = WordVectors.load(root / "glove")
    vectors, speech, length = words.encode(CAPTIONS[0])
    assert (vectors.shape, speech.shape, length) == ((22, 300), (22, 15), 6)
    assert words_of((vectors, speech, length)) == ["OTHER", "DET", "NOUN", "Act_VIP", "Desc_VIP", "OTHER"]
    assert words.encode(["walk/VERB"] * 20)[2] == words.encode(["walk/VERB"] * 90)[2] == 22
    assert words.encode(["walk/VERB"] * 19)[2] == 21
    unknown = words.encode(["zebra/NOUN"])
    assert np.array_equal(unknown[0][1], words.encode(["unk/NOUN"])[0][1]) and words_of(unknown)[1] == "OTHER"
    assert words_of(words.encode(["man/PUNCT"]))[1] == "OTHER"
    for tokens, what in (([], "list of word/POS"), ("a man", "list of word/POS"), (["man"], "has no part of speech")):
        with pytest.raises(GeneratorError, match=what):
            words.encode(tokens)


@pytest.mark.parametrize("name", ["our_vab_words.json", "our_vab_words.txt"])
def test_a_vocabulary_in_plain_text_is_the_same(root: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(root / "glove/our_vab_data.npy", tmp_path)
    (tmp_path / name).write_text(json.dumps(WORDS) if name.endswith("json") else "\n".join(WORDS))
    assert WordVectors.load(tmp_path).fingerprint == WordVectors.load(root / "glove").fingerprint


def test_a_vocabulary_that_does_not_fit_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "glove/our_vab_data.npy", tmp_path)
    for held, what in (
        ([*WORDS, "more"], "first 'more', have no row"),
        (["a", "man"], "lacks 'unk'"),
        ({"unk": "0"}, "not words with their rows"),
        ([1, 2], "not words with their rows"),
        (7, "not words with their rows"),
    ):
        (tmp_path / "our_vab_words.json").write_text(json.dumps(held))
        with pytest.raises(GeneratorError, match=what):
            WordVectors.load(tmp_path)


# Hostile and missing files


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_are_read_and_nothing_in_them_runs(tmp_path: Path, protocol: int) -> None:
    path, trap = tmp_path / "words.pkl", tmp_path / "trap"
    held = {"walk": 3, "list": ["a", "ü", 2**70, None, 0.5, True]}
    path.write_bytes(pickle.dumps(held, protocol=protocol))
    assert read_plain_pickle(path) == held
    for hostile in (Runs(trap), {"walk": Runs(trap)}, np.arange(3), print):
        path.write_bytes(pickle.dumps(hostile, protocol=protocol))
        with pytest.raises(GeneratorError, match="only plain lists"):
            read_plain_pickle(path)
    assert not trap.exists()


def test_damaged_pickles_are_errors(tmp_path: Path) -> None:
    path, whole = tmp_path / "words.pkl", pickle.dumps({word: row for row, word in enumerate(WORDS)})
    rng = np.random.default_rng(0)
    refused = 0
    damaged = [whole[:cut] for cut in range(len(whole))]
    damaged += [bytes(rng.integers(0, 256, 40, dtype=np.uint8)) for _ in range(200)]
    damaged += [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02]q\x00}b.",
        b"\x80\x02U\x01aR.",
        b"P1\n.",
        b"\x80\x04\x82\x01.",
    ]
    for held in damaged:
        path.write_bytes(held)
        try:
            read_plain_pickle(path)
        except GeneratorError:
            refused += 1
    assert refused >= len(whole) + 5


def test_weights_that_would_run_code_are_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.tar"))
    path, trap = tmp_path / "checkpoints/t2m/text_mot_match/model/finest.tar", tmp_path / "trap"
    unnamed = {"movement_encoder": {1: 2}, "motion_encoder": {}, "text_encoder": {}}
    for held in ({"movement_encoder": Runs(trap)}, {"movement_encoder": {}}, {"movement_encoder": 3}, [1], unnamed):
        torch.save(held, path)
        with pytest.raises(GeneratorError, match="holds no weights of the published evaluator"):
            PublishedEvaluator.load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(GeneratorError, match="holds no weights"):
        PublishedEvaluator.load(tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize("damage", ["missing", "surplus", "misshapen"])
def test_weights_load_strictly(root: Path, tmp_path: Path, state: dict[str, dict[str, Tensor]], damage: str) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.tar"))
    movement = dict(state["movement_encoder"])
    if damage == "missing":
        del movement["out_net.bias"]
    elif damage == "surplus":
        movement["more"] = torch.zeros(1)
    else:
        movement["main.0.weight"] = torch.zeros(512, 247, 4)  # that of KIT
    held = {"movement_encoder": movement, "motion_encoder": {}, "text_encoder": {}}
    torch.save(held, tmp_path / "checkpoints/t2m/text_mot_match/model/finest.tar")
    with pytest.raises(GeneratorError, match="movement_encoder is not that of humanml3d's evaluator"):
        PublishedEvaluator.load(tmp_path)


def test_a_missing_file_is_one_error_that_says_where_to_get_it(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        GeneratorError, match=r"checkpoints.kit has no text_mot_match/model/finest\.tar.*download_evaluator"
    ):
        PublishedEvaluator.load(root, "kit")
    with pytest.raises(GeneratorError, match="'babel'; use humanml3d or kit"):
        PublishedEvaluator.load(root, "babel")
    for name in ("checkpoints/t2m/Comp_v6_KLD005/meta/std.npy", "glove/our_vab_idx.pkl", "glove/our_vab_data.npy"):
        folder = tmp_path / Path(name).name
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns("*.tar"))
        (folder / "checkpoints/t2m/text_mot_match/model/finest.tar").touch()  # read last
        (folder / name).unlink()
        with pytest.raises(GeneratorError, match=f"{Path(name).name}.*download_glove"):
            PublishedEvaluator.load(folder)


def test_statistics_of_the_data_set_are_refused(root: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.zeros(263))
    for std, what in (
        (np.full(263, 0.0128), "the data set's mean and std"),
        (np.zeros(263), "not above 0"),
        (np.ones(251), r"shape \(251,\)"),
        (np.full(263, np.nan), "263 finite numbers"),
    ):
        np.save(tmp_path / "std.npy", std)
        with pytest.raises(GeneratorError, match=what):
            PublishedEvaluator.load(root, statistics=tmp_path)


def test_motions_that_cannot_be_read_are_named(evaluator: PublishedEvaluator) -> None:
    good, bad = motions(40, 40)
    bad[3, 5] = np.nan
    with pytest.raises(GeneratorError, match="motion 1 is not finite"):
        evaluator.encode_motion([good, bad])
    for length in (0, 3, 200):
        with pytest.raises(GeneratorError, match=f"motion 0 has {length} frames"):
            evaluator.encode_motion(motions(length))
