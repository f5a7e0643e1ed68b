"""Run programs in compiled code: needs numba. Nothing here is imported before a request is compiled."""
