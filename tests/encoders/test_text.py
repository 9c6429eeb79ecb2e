"""Text towers: installed MiniLM, CLIP through its real classes, and the lexical features beside them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from encoders import TextTowerError
from encoders.bert import load_bert
from encoders.text import (
    LEXICAL_DIM,
    SentenceCache,
    lexical_features,
    load_text_tower,
    minilm_folder,
    sentence_inputs,
)

needs_minilm = pytest.mark.skipif(minilm_folder() is None, reason="the sentence-encoder wheel is not installed")


@needs_minilm
def test_minilm_vectors_are_unit_and_do_not_depend_on_the_batch() -> None:
    tower = load_text_tower("minilm")
    texts = ["a person walks", "someone jumps over a very high obstacle and lands on both feet", "wave"]
    together, alone = tower.encode(texts), np.concatenate([tower.encode([t]) for t in texts])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_known_sentences_are_not_made_again_and_old_ones_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoders.text.CACHED", 3)
    made: list[str] = []

    def make(texts: Sequence[str]) -> np.ndarray:
        made.extend(texts)
        return np.array([[float(len(text))] for text in texts], np.float32).reshape(-1, 1)

    cache = SentenceCache()
    assert cache.get(["a", "bb", "a"], make).ravel().tolist() == [1, 2, 1]
    assert cache.get(["bb", "ccc"], make).ravel().tolist() == [2, 3]
    assert made == ["a", "bb", "ccc"]
    cache.get(["dddd", "eeeee"], make)
    cache.get(["ccc", "a"], make)
    assert made == ["a", "bb", "ccc", "dddd", "eeeee", "a"]
    assert cache.get([], make).shape == (0, 1)


@needs_minilm
def test_lexical_features_see_the_side_that_the_sentence_vector_blurs() -> None:
    left, right = "a person waves with the left hand", "a person waves with the right hand"
    vectors = load_text_tower("minilm").encode([left, right])
    assert float(vectors[0] @ vectors[1]) > 0.9
    features = lexical_features([left, right])
    assert features[0, :2].tolist() == [1.0, 0.0]
    assert features[1, :2].tolist() == [0.0, 1.0]


def tiny_bert(folder: Path) -> Path:
    """A BERT of a few thousand parameters, written by transformers' own classes."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def test_bert_in_torch_layers_equals_the_published_implementation(tmp_path: Path) -> None:
    import torch
    from transformers import BertModel

    theirs = BertModel.from_pretrained(tiny_bert(tmp_path)).eval()
    ours = load_bert(tmp_path)
    ids = torch.randint(0, 50, (5, 17), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(17) < torch.tensor([17, 3, 9, 1, 16])[:, None]).long()
    with torch.inference_mode():
        expected = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        np.testing.assert_allclose(ours(ids, mask)[mask > 0], expected[mask > 0], atol=2e-6)


def test_bert_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = tiny_bert(tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    for lacking in ("embeddings.LayerNorm.bias", "encoder.layer.1.attention.self.key.weight"):
        save_file({name: t for name, t in tensors.items() if name != lacking}, weights)
        with pytest.raises(TextTowerError, match="install the package again"):
            load_bert(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(TextTowerError, match=r"config\.json"):
        load_bert(tmp_path)


@needs_minilm
def test_a_sentence_is_embedded_without_the_import_of_transformers() -> None:
    program = (
        "import sys; from encoders.text import load_text_tower; load_text_tower('minilm').encode(['walk']);"
        "assert not {'transformers', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


@needs_minilm
def test_the_order_of_events_changes_sign_with_them_and_is_nothing_without() -> None:
    texts = ["walks, then sits down", "sits down, then walks", "a person walks"]
    vectors, cues = sentence_inputs(texts, load_text_tower("minilm").encode)
    order = cues[:, LEXICAL_DIM:]
    np.testing.assert_allclose(order[0], -order[1], atol=2e-6)
    assert np.linalg.norm(order[0]) > 0.5
    assert not order[2].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def tiny_clip(folder: Path) -> Path:
    """A CLIP text tower of a few thousand parameters, written by transformers' own classes."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = {
        t: i for i, t in enumerate([*letters, *(x + "</w>" for x in letters), "<|startoftext|>", "<|endoftext|>"])
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=24, max_position_embeddings=16, bos_token_id=52, eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder


def test_clip_tower_reads_a_local_folder_and_cuts_long_sentences(tmp_path: Path) -> None:
    tower = load_text_tower(f"clip:{tiny_clip(tmp_path)}")
    vectors = tower.encode(["walk", "a person walks and walks and walks and walks"])
    assert vectors.shape == (2, 24)
    assert tower.dim == 24
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(vectors[0], tower.encode(["walk"])[0], atol=2e-6)
    assert tower.fingerprint == load_text_tower(f"clip:{tmp_path}").fingerprint


def test_clip_weights_without_projection_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = tiny_clip(tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    del tensors["text_projection.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(TextTowerError, match="text_projection"):
        load_text_tower(f"clip:{tmp_path}")


def test_unknown_towers_and_empty_folders_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(TextTowerError, match="minilm"):
        load_text_tower("word2vec")
    with pytest.raises(TextTowerError, match=r"config\.json"):
        load_text_tower(f"clip:{tmp_path}")
