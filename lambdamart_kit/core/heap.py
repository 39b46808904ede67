"""A binary heap of items by a key that lives elsewhere: largest key first, then lowest item."""

from __future__ import annotations

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.typing import FloatArray, IndexArray


@kernel
def sift_down(heap: IndexArray, size: int, place: int, bound: FloatArray) -> None:
    """Restore the heap of items below `place`: larger bound first, then lower index."""
    # The item goes down, each time changing places with the better child, until neither is better.
    item = heap[place]
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _before(heap[child + 1], heap[child], bound):
            child += 1
        if not _before(heap[child], item, bound):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = item


@kernel
def _before(i: int, j: int, bound: FloatArray) -> bool:
    """Whether item i belongs above item j."""
    return bool(bound[i] > bound[j] or (bound[i] == bound[j] and i < j))


@kernel
def pop(heap: IndexArray, size: int, bound: FloatArray) -> int:
    """Drop the top of the heap; returns how many items are left."""
    # The last item takes the place of the top, which keeps the
    # tree complete, and sinks to where it belongs.
    heap[0] = heap[size - 1]
    sift_down(heap, size - 1, 0, bound)
    return size - 1


@kernel
def heapify(heap: IndexArray, size: int, bound: FloatArray) -> None:
    """Make a heap of the first `size` items, whatever their order; takes time in proportion to `size`."""
    # Each item that has children sinks to its place, from the last such item to the first.
    for place in range(size // 2 - 1, -1, -1):
        sift_down(heap, size, place, bound)
