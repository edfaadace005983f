"""Texts as stemmed words: what lexical ranking compares."""

from __future__ import annotations

import re
import zlib

import Stemmer

FIRST_TERM = 16  # smaller numbers are marks
_WORD = re.compile(r"\w+")
# Words that say nothing about what is asked, by language; of one that is not here every word counts.
_FUNCTION_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "en": """
            a about an and any are as at be been but by can could did do does for from had has have he her hers him his
            how i if in into is it its just me might more most must my no nor not of on or our ours she should so some
            such than that the their theirs them then there these they this those to too was we were what when where
            which who whom whose why will with would you your yours""",
        "de": """
            aber als am an auch auf aus bei bin bis bist da damit das dass dein deine dem den der des die dies diese
            dieser dieses doch du durch ein eine einem einen einer eines er es für habe haben hat hatte hatten ich ihm
            ihn ihr ihre im in ist kann können man mein meine mit nach nicht noch nur ob oder sehr sein seine sich sie
            sind so über um und uns unser vom von vor wann war waren warum was welche welcher welches wem wen wenn wer
            werden wie wird wir wo wurde wurden zu zum zur zwischen""",
        "fr": """
            à a ai alors as au aux avec c ce ces cet cette comme comment d dans de des du elle elles en entre est et été
            eu fut il ils j je l la le les leur leurs lui m ma mais me mes moi mon n ne nos notre nous on ont ou où par
            pas pour pourquoi qu quand que quel quelle quelles quels qui s sa se ses si son sont sous sur t ta te tes
            toi ton tu un une vos votre vous y était étaient être""",
        "es": """
            a al ante antes como cómo con cual cuál cuáles cuando cuándo cuánto de del desde donde dónde e el él ella
            ellas ellos en entre era eran es esa ese eso esta está están estas este esto estos fue fueron ha han hasta
            hay la las le les lo los más me mi mis muy no nos o para pero por porque qué que quien quién quiénes se ser
            si sí sin sobre son su sus también te tiene tu tus un una uno unos y ya yo""",
        "it": """
            a ad ai al alla alle anche c che chi ci come con cosa cui d da dal dalla dei del della delle dello di dove e
            è ed era erano gli ha hanno i il in io l la le lei lo loro lui ma mi nel nella nelle non o per perché più
            qual quale quali quando quanto quanti quella quelle quello questa queste questi questo se si sono sta su sua
            sue sui sul sulla suo suoi tra tu un una uno vi""",
        "pt": """
            a ao aos as à às até com como da das de do dos e é ela elas ele eles em entre era eram essa esse esta está
            este foi foram há isso isto já mais mas me na nas não no nos nós o onde os ou para pela pelas pelo pelos por
            porque qual quais quando quanto que quem se sem ser seu seus sobre são sua suas também tem um uma você""",
        "nl": """
            aan als bij dat de den der deze die dit door een en er geen had hebben heeft hem het hij hoe hun ik in is je
            kan me men met mijn naar niet nog nu of om onder ons ook op over te tot uit van veel voor waar waarom
            wanneer waren was wat we welke wel werd werden wie wij worden wordt ze zich zij zijn zo zou""",
        "sv": """
            att av är de dem den denna det detta dig din du där efter eller en ett för från har hade han hans hon hur i
            inte jag kan med men mig min när nu och om oss på sig sin som så till under upp ut vad var varför vem vi
            vid vilka vilken vilket""",
        "ru": """
            а без бы был была были было быть в вас во вы где для до его ее её если есть еще ещё же за и из или им их к
            как какая какие какой когда кто ли мне мы на над не него нее нет ни них но о об он она они оно от по под
            почему при с сколько со так там то только ты у уже чем что чтобы эта эти это этот я""",
    }.items()
}
_ALGORITHMS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch", "no": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish", "yi": "yiddish",
}  # fmt: skip


class TermReader:
    """Splits texts of one language into term numbers. Not thread-safe: the stemmer keeps a cache.

    Args:
        language: two letters; words of a language without a stemmer are compared as they stand.
    """

    def __init__(self, language: str) -> None:
        self._function_words = _FUNCTION_WORDS.get(language, frozenset())
        algorithm = _ALGORITHMS.get(language)
        self._stemmer = Stemmer.Stemmer(algorithm) if algorithm else None

    def terms(self, text: str) -> list[int]:
        """Every word but function words, in order, as 32-bit numbers of their stems, from FIRST_TERM on."""
        words = [word for word in _WORD.findall(text.lower()) if word not in self._function_words]
        stems = self._stemmer.stemWords(words) if self._stemmer is not None else words
        return [max(FIRST_TERM, zlib.crc32(stem.encode())) for stem in stems]
