"""Limits on CPU time are read from control groups of both versions."""

import os
import platform
from pathlib import Path

import pytest

from wnrl.doctor import cpus
from wnrl.doctor.cpus import cpu_model, cpu_quota, default_threads, usable_cores
from wnrl.envs.usable_cpus import usable_cpus


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


def test_the_smallest_quota_of_the_groups_above_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path / "sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
    assert cpu_quota(tmp_path) is None
    write(tmp_path / "sys/fs/cgroup/a/cpu.max", "150000 100000\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "400000 100000\n")
    assert cpu_quota(tmp_path) == 1.5


def test_version_1_is_read_too_and_minus_1_is_no_limit(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "3:memory:/\n2:cpu,cpuacct:/x\n")
    group = tmp_path / "sys/fs/cgroup/cpu/x"
    write(group / "cpu.cfs_quota_us", "-1\n")
    write(group / "cpu.cfs_period_us", "50000\n")
    assert cpu_quota(tmp_path) is None
    write(group / "cpu.cfs_quota_us", "125000\n")
    assert cpu_quota(tmp_path) == 2.5


def test_usable_cpus_are_some_of_the_machines() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


def test_the_processor_is_named_as_the_system_names_it(tmp_path: Path) -> None:
    write(
        tmp_path / "proc/cpuinfo", "processor\t: 0\nmodel name\t: A  CPU @ 2 GHz\n\nprocessor\t: 1"
    )
    assert cpu_model(tmp_path) == "A CPU @ 2 GHz"


def test_processors_of_one_name_differ_in_family_and_model(tmp_path: Path) -> None:
    kind = "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
    write(tmp_path / "proc/cpuinfo", f"processor\t: 0\n{kind}\nprocessor\t: 1\n{kind}")
    assert cpu_model(tmp_path) == "AMD EPYC (family 25, model 17)"


def test_a_system_that_does_not_name_it_has_an_architecture(tmp_path: Path) -> None:
    assert cpu_model(tmp_path) in (platform.processor(), platform.machine())
    write(tmp_path / "proc/cpuinfo", "processor\t: 0\n")
    assert cpu_model(tmp_path) != ""


@pytest.mark.parametrize(("quota", "cores"), [(None, 3), (1.5, 1), (0.5, 1), (2.0, 2), (9.0, 3)])
def test_cores_are_no_more_than_the_quota_pays_for(
    quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 3)
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    assert usable_cores() == default_threads() == cores
