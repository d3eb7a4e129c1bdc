"""What surrounds a job: check, doctor, tune, dry run, bench, progress and figures for a monitor."""
