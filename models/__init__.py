"""Ready-made graph files and the script that makes them; not shipped in the wheel."""
