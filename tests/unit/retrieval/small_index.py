"""A small real index: articles written for the tests, embedded by the sample encoder."""

from __future__ import annotations

from pathlib import Path

from index_builder.build import BuildPlan, build
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder
from tests.unit.index_builder.dumps import page, write_dump

ARTICLES = {
    "Lighthouse of Norrby": (
        "The Lighthouse of Norrby is a lighthouse on the west coast of the island of Norrby. It was built in 1872 by "
        "the engineer Karin Falk. Its lamp can be seen from 30 kilometres away. The tower is 41 metres high.\n"
        "== Keepers ==\nThe first keeper of the lighthouse was Olof Brandt. He lived there with his seven children. "
        "The last keeper left in 1969. Since then the lamp has been switched by a computer in the town hall.\n"
        "== Storm of 1903 ==\nIn January 1903 a storm broke all windows of the lantern room. The keeper kept the lamp "
        "burning with oil from the harbour. Forty ships found their way home that night."
    ),
    "Velvet fox": (
        "The velvet fox is a small animal of the northern forests. It eats berries, beetles and the eggs of birds. Its "
        "fur is dark blue in winter and brown in summer.\n"
        "== Behaviour ==\nVelvet foxes hunt at night. A pair stays together for life. Their young are born in May and "
        "leave the den in August. When danger is near, the fox whistles like a thrush."
    ),
    "Copper bread": (
        "Copper bread is a flat bread baked in copper pans. It is made of barley flour, honey and salt. Bakers in the "
        "valley of Ost have made it since the Middle Ages.\n"
        "== Recipe ==\nThe dough rests for two days. It is then baked for nine minutes over a birch fire. The bread is "
        "eaten warm with sour cream."
    ),
    "Battle of Green Hill": (
        "The Battle of Green Hill was fought on 4 June 1645 between the army of Duke Anselm and the city of Marn. The "
        "city won, although it had only 900 soldiers. Duke Anselm was wounded by an arrow.\n"
        "== Aftermath ==\nThe peace treaty was signed in the church of Marn. The duke had to pay ten thousand silver "
        "coins. A monument on the hill remembers the fallen."
    ),
}  # fmt: skip


def make_index(folder: Path, stride_sentences: int = 3, articles: dict[str, str] = ARTICLES) -> Path:
    """An index of `articles` in `folder`, built by the index builder."""
    pages = [page(title, text, page_id=number) for number, (title, text) in enumerate(articles.items(), start=1)]
    dump = write_dump(folder.parent / f"{folder.name}.xml", *pages)
    plan = BuildPlan(
        source=str(dump),
        encoder="sample",
        shape=WindowShape(stride=stride_sentences),
        workers=Workers(1),
        precision="float32",
    )
    build(plan, folder, WorkFolder(folder / ".work"), Progress(quiet=True))
    return folder
