"""What is wrong with labelled rows: one file a subject, each a function from `Facts` to findings."""
