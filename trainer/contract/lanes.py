"""The two lanes: environments with transformers 4 or 5. Each reads most of what the other wrote, and says what not."""

LANES = {
    4: "lane 4: transformers 4.57, as constraints.txt has it",
    5: "lane 5: transformers 5, as constraints-5.txt has it",
}
# Families of text classifiers that one lane alone has. A test compares them with the installed transformers.
ONLY = {
    4: frozenset({"ernie_m", "led", "mega", "nezha", "open-llama", "qdqbert", "transfo-xl"}),
    5: frozenset(
        {
            "axk1",
            "axk2",
            "cohere_compass_text",
            "eurobert",
            "gte",
            "jina_embeddings_v3",
            "minicpm3",
            "ministral3",
            "mistral4",
            "nomic_bert",
            "olmo",
            "olmo2",
            "olmo3",
            "qwen3_5_text",
            "ultrabert",
        }
    ),
}


def other_lane(here: str, *, written_by: str = "", family: str = "") -> str:
    """What to do where this environment cannot read something: the lane that can; empty where none is known.

    here, written_by: versions of transformers, of this environment and of what wrote the file.
    """
    known = next((lane for lane, families in ONLY.items() if family in families), None)
    lane = known if known is not None else _lane(written_by)
    if lane not in LANES or lane == _lane(here):
        return ""
    return f"use {LANES[lane]}, in an environment of its own (README, 'Two lanes')"


def _lane(version: str) -> int | None:
    major = version.partition(".")[0]
    return int(major) if major.isdecimal() else None
