"""Contract tests that authors of plug-ins inherit, and public doubles of the parts that cost money."""
