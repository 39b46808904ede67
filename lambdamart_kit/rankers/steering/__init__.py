"""What steers a fit: its input as one record, starting scores, held-out sets, callbacks, learning curves."""
