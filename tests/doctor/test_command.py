"""The doctor's report says what is there, and what to mend."""

import subprocess
import sys
import textwrap

import pytest

import wnrl.doctor.command
from wnrl.doctor.command import Finding, format_report, main
from wnrl.doctor.software import NOT_INSTALLED


def test_a_machine_on_which_a_run_can_work_gives_exit_0_and_no_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "wnrl.doctor"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split("  ")[0] for line in done.stdout.splitlines()]
    for name in ("python", "torch", "ale-py", "wnrl", "device", "cpus", "memory", "emulator"):
        assert name in names
    assert "104 games" in done.stdout
    assert done.stdout.endswith("\nA run can work here.\n")


def test_the_report_is_aligned_and_ends_with_what_to_mend() -> None:
    findings = [Finding("torch", "2.8"), Finding("ale-py", "gone", "install it")]
    assert format_report(findings) == (
        "torch   2.8\nale-py  gone\n\nA run cannot work here. To mend:\nale-py: install it"
    )
    assert format_report(findings[:1]) == "torch  2.8\n\nA run can work here."


def broken_emulator() -> str:
    raise RuntimeError("no ROM\nsecond line")


def test_what_fails_is_named_with_its_mend_and_the_rest_is_still_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = (("emulator", broken_emulator, "reinstall it"), ("disk", lambda: "room", "x"))
    monkeypatch.setattr(wnrl.doctor.command, "_LOOKS", looks)
    monkeypatch.setattr(
        wnrl.doctor.command, "versions", lambda: {"python": "3.11", "gymnasium": NOT_INSTALLED}
    )
    assert main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "second line" not in lines
    assert "gymnasium  not installed" in lines
    assert "emulator   failed: RuntimeError: no ROM" in lines
    assert "disk       room" in lines
    assert lines[-3:] == [
        "A run cannot work here. To mend:",
        "gymnasium: pip install gymnasium",
        "emulator: reinstall it",
    ]


def test_without_torch_the_doctor_still_reports() -> None:
    """The report is for installations that do not work: it must not need what it examines."""
    script = """
        import sys
        for name in ("torch", "ale_py", "gymnasium", "tensorboard", "numpy"):
            sys.modules[name] = None  # an import of it fails
        from wnrl.doctor.command import main
        sys.exit(main([]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "device: reinstall torch" in done.stdout
    assert "emulator: pip install --force-reinstall ale-py" in done.stdout
