"""Pictures and pages: what a study or a comparison found, as files that open anywhere."""
