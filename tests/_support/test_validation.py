"""Check how the free memory is found."""

import os

from paperlib._support import validation


def test_free_memory_is_the_least_of_what_the_system_tells(tmp_path, monkeypatch):
    told = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 5 kB",
        "memory.max": "4000",
        "memory.current": "1000",
    }

    def path(name):
        (tmp_path / "told").write_text(
            next((text for end, text in told.items() if name.endswith(end)), "max")
        )
        return tmp_path / "told"

    monkeypatch.setattr("paperlib._support.validation.Path", path)
    assert validation._free_bytes() == 3000
    told["memory.max"] = "max"
    assert validation._free_bytes() == 5 * 1024
    told["/proc/meminfo"] = "nothing of the kind"
    assert validation._free_bytes() == os.sysconf("SC_PHYS_PAGES") * os.sysconf(
        "SC_PAGE_SIZE"
    )
