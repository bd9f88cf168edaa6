"""The programs here are run by the tests, not collected."""

collect_ignore = ["kernel_checks.py", "linux_guest.py"]
