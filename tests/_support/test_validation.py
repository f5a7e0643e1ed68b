"""Check how the free memory is determined."""

import os

from paperlib._support import validation


def test_free_memory_is_the_smallest_reported_value(tmp_path, monkeypatch):
    contents = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 5 kB",
        "memory.max": "4000",
        "memory.current": "1000",
    }

    def path(name):
        (tmp_path / "file").write_text(
            next((text for end, text in contents.items() if name.endswith(end)), "max")
        )
        return tmp_path / "file"

    monkeypatch.setattr("paperlib._support.validation.Path", path)
    assert validation._free_bytes() == 3000
    contents["memory.max"] = "max"
    assert validation._free_bytes() == 5 * 1024
    contents["/proc/meminfo"] = "nothing of the kind"
    assert validation._free_bytes() == os.sysconf("SC_PHYS_PAGES") * os.sysconf(
        "SC_PAGE_SIZE"
    )
