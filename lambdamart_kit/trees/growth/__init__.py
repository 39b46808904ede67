r"""Growing one tree at a time on binned rows, on all threads at once.

Words of the kernels
--------------------
packed
    Gradient and hessian of a row, or of a sum of rows, as one int64: ``gradient * 2**32 + hessian``, both
    quantised to integers. Adding two packed numbers adds both parts (:mod:`.histogram`).
carried
    A row as the kernels move it: one int64 with its quantised gradient (bits 63 to 48), quantised hessian (47
    to 32) and row number (31 to 0). The array `carried` holds all rows of the tree, leaf by leaf.
heavy, light
    A heavy row takes part in the search for splits; a light row was drawn not to, and counts only in the
    number of rows, in leaf values and in scores (:mod:`.quantising`). A leaf is two runs of `carried`: its
    heavy rows and its light rows.
slot
    Place of one bin of one feature in a histogram. Also, in the table of leaves, the number of the histogram
    that a leaf owns (column ``SLOT``).
block
    Features that one thread adds up, subtracts and searches, so that no two threads write to one cache line.
plane
    As many blocks as there are threads, with at most 65,528 slots, because slot numbers are 16 bits. Wide
    data has several planes.
offer
    The best split of a leaf among one thread's features. The best of all threads' offers is taken.
record
    A split as a row of numbers: feature, bin, side of NaN, sum of the left child, and the set of bins that go
    left as four words of 64 bits.
canonical order
    The order in which an estimator puts rows before it trains, whatever order they came in.

The four orders of a row
------------------------
::

    given        rows as the caller passed them                        X[i]
      |
      |  core.ordered_rows: by query, then by content, so that the model does not depend on the given order
      v
    canonical    rows of a query side by side                          columns[feature, r], gradient[r],
      |                                                                scores[r], queries.ptr
      |  histogram.make_layout: the same rows, stored a second time as lists of slots
      |  (row r is list r: the numbering does not change)
      v
    layout       lists of histogram slots, one for each row and block  words[row_ptr[r * blocks + block]]
      |
      |  quantising.quantise, then partition.move_rows at each split
      v
    carried      row numbers r, leaf by leaf: each leaf's heavy rows   carried[begin : begin + heavy]
                 and light rows                                        carried[light : light + count - heavy]

``carried`` after two splits, with leaves A, B and C. Splitting leaf A parts each of its runs in two::

    | A heavy | C heavy |    B heavy    | A light | C light | B light |

The drawing holds on one thread or many: the partition is stable, so ``carried`` is the same array.
"""
