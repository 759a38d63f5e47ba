"""Where a perturbation lives: a vector for each token of the batch, or for each step of a text.

Both take it as rows, one array an embedding or one a look-up, and have the same methods.
"""

from typing import Any

from keras import ops

from keras_mlc._typing import Tensor
from keras_mlc.training._lookups import LookUps

Rows = list[Tensor]


class _Norm:
    """What both share: `rows` from and `shifts` for the look-ups, and a `length` of rows."""

    def __init__(self, step: Any, lookups: LookUps, num_samples: Any) -> None:
        self.step, self.lookups, self.num_samples = step, lookups, num_samples

    def scaled(self, rows: Rows, length: float) -> Rows:
        """Return rows of this length in the same direction, zeros where theirs is not finite."""
        norm = self.length(rows)
        factor = self._spread(length / self._divisor(norm), rows)
        is_finite = self._spread(ops.isfinite(norm), rows)
        return [
            ops.where(finite, row * each, 0.0)
            for finite, row, each in zip(is_finite, rows, factor, strict=True)
        ]

    def projected(self, rows: Rows, radius: float) -> Rows:
        """Return rows that are no longer than the radius."""
        norm = self.length(rows)
        is_outside = norm > radius
        factor = ops.where(is_outside, radius / ops.where(is_outside, norm, 1.0), 1.0)
        return [row * each for row, each in zip(rows, self._spread(factor, rows), strict=True)]

    def rows(self, slopes: list[Tensor]) -> Rows:
        """Return the rows of what there is for each look-up, without its padding."""
        raise NotImplementedError

    def shifts(self, rows: Rows) -> list[Tensor]:
        """Return what rows add to the vectors of each look-up, nothing to padding."""
        raise NotImplementedError

    def length(self, rows: Rows) -> Tensor:
        """Return the Euclidean norm of rows."""
        raise NotImplementedError

    def _divisor(self, norm: Tensor) -> Tensor:
        raise NotImplementedError

    def _spread(self, numbers: Tensor, rows: Rows) -> list[Tensor]:
        """Return what belongs to a norm so that it broadcasts over the rows."""
        raise NotImplementedError


class PerBatch(_Norm):
    """A token has one vector in all of a batch, on all replicas, and all of them have one norm."""

    def __init__(self, step: Any, lookups: LookUps, num_samples: Any) -> None:
        super().__init__(step, lookups, num_samples)
        self.places: list[Tensor] = [None] * len(lookups.found)  # of each look-up's vectors
        self.all_places: list[Tensor] = []  # an embedding, over all replicas
        for number, (layer, matrix) in enumerate(lookups.embeddings):
            ids = [lookups.found[place].ids for place in self._of(number)]
            own_ids = ops.concatenate([ops.reshape(each, (-1,)) for each in ids])
            own_ids, size = _rows(own_ids, layer, matrix)
            all_ids = step._over_replicas(own_ids)
            if size is None:  # The numbers of the ids stand in their place.
                num_ids = ops.shape(all_ids)[0]
                numbers = step._numbered(ops.concatenate([all_ids, own_ids]))
                all_ids, own_ids = numbers[:num_ids], numbers[num_ids:]
                size = ops.shape(numbers)[0]
            # Nothing here may sort: under XLA on TensorFlow a sort, or a `top_k`, makes random
            # numbers slow.
            table = step._first_places(all_ids, size)
            self.all_places.append(ops.take(table, all_ids))
            places, start = ops.take(table, own_ids), 0
            for place, each in zip(self._of(number), ids, strict=True):
                end = start + ops.size(each)
                self.places[place] = ops.reshape(places[start:end], ops.shape(each))
                start = end

    def _of(self, number: int) -> list[int]:
        return [i for i, other in enumerate(self.lookups.numbers) if other == number]

    def rows(self, slopes: list[Tensor]) -> Rows:
        """Return the sum for each token, at the first of its places, and zeros elsewhere."""
        found = []
        for number, places in enumerate(self.all_places):
            own = [_unpadded(slopes[i], self.lookups.found[i].mask) for i in self._of(number)]
            flat = [ops.reshape(each, (-1, each.shape[-1])) for each in own]
            vectors = self.step._over_replicas(ops.concatenate(flat))
            found.append(self.step._sum_by_place(vectors, places, ops.shape(places)[0]))
        return found

    def shifts(self, rows: Rows) -> list[Tensor]:
        """Return the vector of each token wherever it stands."""
        return [
            _unpadded(ops.take(rows[number], places, axis=0), look_up.mask)
            for number, places, look_up in zip(
                self.lookups.numbers, self.places, self.lookups.found, strict=True
            )
        ]

    def length(self, rows: Rows) -> Tensor:
        """Return the norm over all tokens."""
        return ops.sqrt(sum(ops.sum(ops.square(row)) for row in rows))

    def _divisor(self, norm: Tensor) -> Tensor:
        return norm + 1e-8

    def _spread(self, numbers: Tensor, rows: Rows) -> list[Tensor]:
        return [numbers] * len(rows)


class PerSample(_Norm):
    """Every step of a text has its own vector, and those of a text have a norm of their own."""

    def rows(self, slopes: list[Tensor]) -> Rows:
        """Return what there is for each look-up, without its padding."""
        pairs = zip(slopes, self.lookups.found, strict=True)
        return [_unpadded(slope, look_up.mask) for slope, look_up in pairs]

    def shifts(self, rows: Rows) -> list[Tensor]:
        """Return the rows."""
        return rows

    def length(self, rows: Rows) -> Tensor:
        """Return the norm of each text."""
        total = ops.zeros((self.num_samples,), rows[0].dtype)
        for row, look_up in zip(rows, self.lookups.found, strict=True):
            squares = ops.sum(ops.square(row), axis=tuple(range(1, len(row.shape))))
            if look_up.samples is not None:
                squares = self.step._sum_by_place(squares, look_up.samples, self.num_samples)
            total += squares
        return ops.sqrt(total)

    def _divisor(self, norm: Tensor) -> Tensor:
        # A small constant would weigh more in a larger batch, whose mean makes gradients smaller.
        return ops.where(norm > 0, norm, 1.0)

    def _spread(self, numbers: Tensor, rows: Rows) -> list[Tensor]:
        found = []
        for row, look_up in zip(rows, self.lookups.found, strict=True):
            own = numbers if look_up.samples is None else ops.take(numbers, look_up.samples)
            shape = (*ops.shape(own), *[1] * (len(row.shape) - 1))
            found.append(ops.reshape(own, shape))
        return found


def _rows(ids: Tensor, layer: Any, matrix: Any) -> tuple[Tensor, int | None]:
    """Return ids as Keras counts them, and their number where it is known.

    Negative ones count from the end; of unknown ones, any is taken. A layer's own `call` may know
    other ids than the matrix has rows.
    """
    package = getattr(type(layer).call, "__module__", "").partition(".")[0]
    if package not in ("keras", "keras_hub"):
        return ids, None
    size = getattr(layer, "input_dim", matrix.shape[0])
    return ops.clip(ops.where(ids < 0, ids + size, ids), 0, size - 1), size


def _unpadded(vectors: Tensor, mask: Tensor | None) -> Tensor:
    return vectors if mask is None else ops.where(mask, vectors, 0.0)
