"""Execute programs, which are lists of products, in compiled code.

This package needs numba. `compilation` imports it at the first request that has a
program, so that the rest of paperlib works without numba.
"""
