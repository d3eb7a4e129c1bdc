"""Parts of the rows that are worse than the others: what can be seen of a text, slices by it, and rules of a tree."""
