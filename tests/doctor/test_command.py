"""The doctor reports what it finds and what to fix."""

import subprocess
import sys
import textwrap

import pytest

import wnrl.doctor.command
from wnrl.doctor.command import Finding, format_report, main
from wnrl.doctor.software import NOT_INSTALLED


def check_report(report: str) -> None:
    names = [line.split("  ")[0] for line in report.splitlines()]
    for name in ("python", "torch", "ale-py", "wnrl", "device", "cpus", "memory", "emulator"):
        assert name in names
    assert "104 games" in report
    assert report.endswith("\nTraining works on this machine.\n")


def test_a_working_machine_gives_exit_0_and_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    check_report(out)


@pytest.mark.slow
def test_no_import_on_a_working_machine_warns() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "wnrl.doctor"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    check_report(done.stdout)


def test_the_report_is_aligned_and_ends_with_what_to_fix() -> None:
    findings = [Finding("torch", "2.8"), Finding("ale-py", "gone", "install it")]
    assert format_report(findings) == (
        "torch   2.8\nale-py  gone\n\n"
        "Training does not work on this machine yet. To fix:\nale-py: install it"
    )
    assert format_report(findings[:1]) == "torch  2.8\n\nTraining works on this machine."


def test_a_missing_package_of_an_extra_is_nothing_to_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wnrl.doctor.command, "versions", lambda: {"MinAtar": NOT_INSTALLED})
    found = next(wnrl.doctor.command._packages())
    line = "not installed (optional: pip install 'wnrl[minatar]')"
    assert found == Finding("MinAtar", line)


def broken_emulator() -> str:
    raise RuntimeError("no ROM\nsecond line")


def test_a_failing_check_is_named_with_its_fix_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = (("emulator", broken_emulator, "reinstall it"), ("disk", lambda: "room", "x"))
    monkeypatch.setattr(wnrl.doctor.command, "_CHECKS", checks)
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
        "Training does not work on this machine yet. To fix:",
        "gymnasium: pip install gymnasium",
        "emulator: reinstall it",
    ]


def test_without_torch_the_doctor_still_reports() -> None:
    """The report is for broken installations, so it must not need what it checks."""
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
