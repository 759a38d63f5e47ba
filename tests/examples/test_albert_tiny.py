from support.albert_tiny import albert_tiny

import keras
import numpy as np
import pytest

from backends import to_numpy


def inputs(token_ids, padding_mask):
    token_ids = np.array(token_ids, "int32")
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": np.array(padding_mask, "int32"),
    }


@pytest.mark.parametrize(
    ("variant", "published"), [("brightmart", 4_077_496), ("google", 3_982_864)]
)
def test_has_the_published_number_of_parameters(variant, published):
    assert albert_tiny(variant=variant).count_params() == published


@pytest.mark.parametrize("variant", ["brightmart", "google"])
def test_padding_does_not_change_real_tokens(variant):
    keras.utils.set_random_seed(0)
    encoder = albert_tiny(variant=variant, max_length=16, vocabulary_size=50)
    alone = encoder(inputs([[2, 7, 9, 3]], [[1, 1, 1, 1]]))
    padded = encoder(inputs([[2, 7, 9, 3, 0, 41]], [[1, 1, 1, 1, 0, 0]]))
    np.testing.assert_allclose(to_numpy(padded)[:, :4], to_numpy(alone), atol=1e-5)
    assert alone.shape == (1, 4, 312)


def test_the_token_embedding_is_found_by_name():
    encoder = albert_tiny(vocabulary_size=50)
    assert encoder.get_layer("token_embedding").embeddings.shape == (50, 128)


def test_brightmart_token_vectors_are_as_large_as_positions():
    keras.utils.set_random_seed(0)
    encoder = albert_tiny(variant="brightmart")
    tokens, projection, positions = (
        to_numpy(encoder.get_layer(part).weights[0])
        for part in ("token_embedding", "embedding_projection", "position_embedding")
    )
    assert 0.5 < np.std(tokens @ projection) / np.std(positions) < 2


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="Received: 'nvidia'"):
        albert_tiny(variant="nvidia")
