"""A small network on top of the features of a frozen encoder."""

import jax
from flax import nnx
from jaxtyping import Array, Float


class Projector(nnx.Module):
    """A hidden layer, an embedding, and a linear head, on features.

    Its "images" are rows of features (B, F), which a frozen encoder has made of the
    images once: `fit_charts` and `embed` take them as they take images.

    Args:
        num_inputs: F, the width of the encoder's features.
        num_classes: C.
        num_hidden: the width of the layer before the embedding.
        num_features: D, the dimension of the embedding.
        rngs: the source of the initial values.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> model = Projector(1280, 10, rngs=nnx.Rngs(0))
        >>> model.embed(jnp.zeros((2, 1280))).shape
        (2, 128)

    Source: Crisostomi et al., "From Charts to Atlas" (2023), section 4.
    """

    def __init__(
        self,
        num_inputs: int,
        num_classes: int,
        *,
        num_hidden: int = 256,
        num_features: int = 128,
        rngs: nnx.Rngs,
    ) -> None:
        self.hidden = nnx.Linear(num_inputs, num_hidden, rngs=rngs)
        self.embedding = nnx.Linear(num_hidden, num_features, rngs=rngs)
        self.head = nnx.Linear(num_features, num_classes, rngs=rngs)

    def embed(self, features: Float[Array, "B F"]) -> Float[Array, "B D"]:
        """The embeddings of a batch."""
        return self.embedding(jax.nn.relu(self.hidden(features)))

    def __call__(self, features: Float[Array, "B F"]) -> Float[Array, "B C"]:
        """The logits of a batch."""
        return self.head(self.embed(features))
