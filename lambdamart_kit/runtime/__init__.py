"""What a process needs from the machine: threads, BLAS threads, progress lines, files written whole."""
