"""Execute programs in compiled code.

This package needs numba. It is imported when the first request is compiled.
"""
