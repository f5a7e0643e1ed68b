"""Fuzz every file reader with coverage guidance, until stopped or for the given number of seconds.

    .venv/bin/python tests/long/fuzz_files.py -max_total_time=600

The bytes from libFuzzer are used in three ways: as a complete file, as the source of the damaged files that Hypothesis
draws in `test_malformed_files`, and as the source of its malformed JSON. A reader must return a result or raise the
one-line ValueError that names the file. Anything else ends the run.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[1] / "helpers"),
]
with atheris.instrument_imports(
    include=["paperlib", "zipfile", "json", "numpy.lib", "ast"]
):
    import test_malformed_files as strange

READERS = sorted(strange.READERS)


def as_a_file(data):
    """Read the data as a file.

    The first byte selects the reader. If the second byte is odd, the rest is packed as an array in an archive.
    """
    if len(data) > 2:
        reader, content = READERS[data[0] % len(READERS)], data[2:]
        if data[1] % 2:
            content = strange.packed([("format.npy", content)])
        strange.read(content, reader)


def one_input(data):
    as_a_file(data)
    strange.test_a_malformed_file_is_read_or_rejected.hypothesis.fuzz_one_input(data)
    strange.test_json_of_another_structure_is_rejected.hypothesis.fuzz_one_input(data)


if __name__ == "__main__":
    corpus = strange.FOLDER / "corpus"
    corpus.mkdir()
    for number, good in enumerate(strange.GOOD):
        for reader in range(len(READERS)):
            (corpus / f"{number}_{reader}").write_bytes(bytes([reader, 0]) + good)
    (corpus / "array").write_bytes(
        bytes([0, 1]) + strange.array_file(strange.NETWORK.weights[0])
    )
    atheris.Setup([*sys.argv, str(corpus)], one_input)
    atheris.Fuzz()
