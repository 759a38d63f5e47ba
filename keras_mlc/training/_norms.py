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
            own = self._of(number)
            ids = {place: _row(lookups.found[place].ids, layer, matrix) for place in own}
            flat = [ops.reshape(ids[place], (-1,)) for place in own]
            all_ids = step._over_replicas(ops.concatenate(flat))
            find = _Finder(step, all_ids, layer, matrix)
            self.all_places.append(find(all_ids))
            for place in own:
                self.places[place] = find(ids[place])

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
            squares = ops.square(row)
            if look_up.samples is None:
                total += ops.sum(squares, axis=tuple(range(1, len(row.shape))))
            else:
                squares = ops.sum(squares, axis=-1)
                total += self.step._sum_by_place(squares, look_up.samples, self.num_samples)
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


class _Finder:
    """Finds the first of the places of a token, by a table or, for own layers, by comparing.

    Nothing here may sort: under XLA on TensorFlow a sort, or a `top_k`, makes random numbers dear.
    """

    def __init__(self, step: Any, ids: Tensor, layer: Any, matrix: Any) -> None:
        self.ids = ids
        size = _num_rows(layer, matrix)
        self.table = None if size is None else step._first_places(ids, size)

    def __call__(self, ids: Tensor) -> Tensor:
        """Return a place for each of the ids, of their shape."""
        if self.table is not None:
            return ops.take(self.table, ids)
        is_there = ops.equal(ops.expand_dims(ids, -1), self.ids)
        return ops.cast(ops.argmax(ops.cast(is_there, "int32"), axis=-1), "int32")


def _num_rows(layer: Any, matrix: Any) -> int | None:
    """Return how many ids a layer knows, None where its own `call` may know others."""
    package = getattr(type(layer).call, "__module__", "").partition(".")[0]
    return getattr(layer, "input_dim", matrix.shape[0]) if package in _KNOWN else None


_KNOWN = "keras", "keras_hub"


def _row(ids: Tensor, layer: Any, matrix: Any) -> Tensor:
    """Return ids as Keras counts them: negative ones from the end; of unknown ones, any."""
    size = _num_rows(layer, matrix)
    return ids if size is None else ops.clip(ops.where(ids < 0, ids + size, ids), 0, size - 1)


def _unpadded(vectors: Tensor, mask: Tensor | None) -> Tensor:
    return vectors if mask is None else ops.where(mask, vectors, 0.0)
