"""What holds for all tests."""

import signal

pytest_plugins = ["tests.properties", "tests.notes"]

# Shells start what runs in the background with SIGINT ignored, and all its children inherit that:
# tests that press Ctrl-C, here or in a process of their own, would see nothing happen.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
