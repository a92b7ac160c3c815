"""What hsisr knows of the machine."""

import pytest

from hsisr import system


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {}, 8000),
        ("0::/\n", {"memory.max": "max"}, 8000),
        ("0::/\n", {"memory.max": "3000"}, 3000),
        ("0::/slurm/job_1/step_0\n", {"slurm/job_1/memory.max": "2000", "slurm/job_1/step_0/memory.max": "max"}, 2000),
        ("4:cpu:/x\n3:memory:/slurm/uid_0/job_1\n", {"memory/slurm/uid_0/job_1/memory.limit_in_bytes": "1000"}, 1000),
        ("nonsense\n", {"memory.max": "3000"}, 8000),
    ],
)
def test_free_memory_is_no_more_than_a_container_or_a_job_may_have(tmp_path, monkeypatch, groups, files, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if content == "max" else str(1024 * int(content)))
    monkeypatch.setattr(system, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(system, "_GROUPS", tmp_path / "groups")
    assert system.available_memory() == 1024 * expected
