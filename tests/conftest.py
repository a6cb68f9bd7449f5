"""What holds for all tests."""

pytest_plugins = ["tests.properties", "tests.notes"]
