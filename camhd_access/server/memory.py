"""What was made or learnt lately, bounded by what it weighs: least recently used goes first."""

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Memory"]

T = TypeVar("T")


class Memory(Generic[T]):
    """Values by key, together no heavier than `max_weight`; counts what it was asked for."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._values: OrderedDict[object, tuple[T, int]] = OrderedDict()
        self.weight = 0
        """Of what is held."""
        self.n_asked = 0
        """Questions so far."""
        self.n_missed = 0
        """Questions so far that had no answer."""

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: object) -> T | None:
        """The value of `key`, which is the one used last from now on; None where there is none."""
        self.n_asked += 1
        if key not in self._values:
            self.n_missed += 1
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: object, value: T, weight: int = 1) -> None:
        """Hold `value`, unless it is heavier than a quarter of all."""
        self.drop(key)
        if weight > self._max_weight // 4 and weight > 1:
            return
        self._values[key] = value, weight
        self.weight += weight
        while self.weight > self._max_weight:
            _, (_, lost) = self._values.popitem(last=False)
            self.weight -= lost

    def drop(self, key: object) -> None:
        """Forget `key`."""
        _, weight = self._values.pop(key, (None, 0))
        self.weight -= weight
