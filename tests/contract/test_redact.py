"""What may leave the machine: files named without the folders that they lie in."""

from trainer.contract.redact import file_names


def test_a_file_is_named_by_as_little_as_tells_it_from_others() -> None:
    """A last name where that is enough, a folder before it where two files share one, and other names as they are."""
    assert file_names(["/home/zoe/rows.csv"]) == {"/home/zoe/rows.csv": "rows.csv"}
    paths = ["/home/zoe/a/rows.csv", "/home/zoe/b/rows.csv", "/home/zoe/more.csv", "some/data", "/x/a/b/rows.csv"]
    assert list(file_names(paths).values()) == [
        "a/rows.csv",
        "zoe/b/rows.csv",
        "more.csv",
        "some/data",
        "a/b/rows.csv",
    ]
    assert file_names([]) == {}
