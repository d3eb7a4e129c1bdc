"""The words of the tiny models' texts."""

CORPUS = [
    "win a free prize now call the number below",
    "are you coming home for dinner tonight",
    "the cat sat on the mat and the dog ran away",
    "urgent your account will be closed reply stop",
    "see you tomorrow at the office ok bye",
    "0123456789 !?.,;:-()[]'\"",
]
