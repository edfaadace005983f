"""A wiki as its dump's header describes it: which links lead to pictures, to categories, and to other languages."""

from __future__ import annotations

from dataclasses import dataclass, field

_FILES = (
    "file image media datei bild fichier archivo imagen immagine ficheiro imagem bestand afbeelding plik "
    "grafika файл "
    "изображение зображення fil tiedosto kuva soubor fájl kép fișier imagine dosya resim fitxer imatge "
    "berkas gambar ファイル "
    "画像 檔案 文件 图像 图片 圖像 圖片 파일 그림 ملف صورة پرونده קובץ תמונה датотека слика εικόνα αρχείο "
    "चित्र dosiero súbor fail"
)
_CATEGORIES = (
    "category kategorie catégorie categoría categoria categorie kategoria категория категорія kategori "
    "kategória luokka "
    "カテゴリ 分类 分類 분류 تصنيف رده קטגוריה категорија κατηγορία श्रेणी kategorio kategorija"
)
_LANGUAGES = (
    "aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban "
    "bar bat-smg "
    "bbc bcl bdr be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo ce "
    "ceb ch cho "
    "chr chy ckb co cr crh cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee el eml en eo es et eu "
    "ext fa fat ff "
    "fi fiu-vro fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gsw gu guc gur guw "
    "gv ha hak haw "
    "he hi hif ho hr hsb ht hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io is it iu ja jam jbo jv ka kaa "
    "kab kbd kbp "
    "kcg kg kge ki kj kk kl km kn knc ko koi kr krc ks ksh ku kus kv kw ky la lad lb lbe lez lfn lg li lij "
    "lld lmo ln lo "
    "lrc lt ltg lv lzh mad mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mos mr mrj ms mt mus mwl my "
    "myv mzn na nah "
    "nan nap nb nds nds-nl ne new ng nia nl nn no nov nqo nr nrm nso nup nv ny oc olo om or os pa pag pam "
    "pap pcd pcm pdc "
    "pdt pfl pi pih pl pms pnb pnt ps pt pwn qu rm rmy rn ro roa-rup roa-tara ru rue rup rw sa sah sat sc "
    "scn sco sd se "
    "sg sgs sh shi shn shy si simple sk skr sl sm smn sn so sq sr srn ss st stq su sv sw syl szl szy ta tay "
    "tcy tdd te "
    "tet tg th ti tig tk tl tly tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep vi vls vo "
    "vro wa war wo "
    "wuu xal xh xmf yi yo yue za zea zgh zh zh-classical zh-min-nan zh-yue zu"
)
_FILE_NAMES = frozenset(_FILES.split()) | {"tập tin", "hình"}
_CATEGORY_NAMES = frozenset(_CATEGORIES.split()) | {"thể loại"}
_LANGUAGE_CODES = frozenset(_LANGUAGES.split())
_FILE_KEYS, _CATEGORY_KEY = (6, -2), 14


@dataclass(frozen=True)
class Site:
    """One wiki.

    Attributes:
        base_url: what the address of an article begins with.
        files: names, in lower case, of the namespaces whose links show pictures; of all languages and its own.
        categories: names of those whose links show nothing.
    """

    base_url: str = ""
    files: frozenset[str] = field(default=_FILE_NAMES)
    categories: frozenset[str] = field(default=_CATEGORY_NAMES)

    @classmethod
    def of(cls, base_url: str, namespaces: dict[int, str]) -> Site:
        """The wiki whose dump's header names these namespaces, by their keys."""
        files = {namespaces[key].lower() for key in _FILE_KEYS if namespaces.get(key)}
        category = namespaces.get(_CATEGORY_KEY, "").lower()
        return cls(base_url, _FILE_NAMES | files, _CATEGORY_NAMES | ({category} if category else set()))


UNKNOWN_SITE = Site()


def link_text(inner: str, site: Site) -> tuple[str, str]:
    """What a reader sees of `[[inner]]`, whose own markup is plain text already; and how it is counted when it is left
    out, "" when nothing of the text is.
    """
    target, bar, label = inner.partition("|")
    target = target.strip()
    if target.startswith(":"):
        return label or target.removeprefix(":"), ""
    prefix, colon, _ = target.partition(":")
    namespace = prefix.strip().replace("_", " ").lower() if colon else ""
    if namespace == "media":
        return label or target, ""
    if namespace in site.files:
        return "", "image"
    if namespace in site.categories or namespace in _LANGUAGE_CODES:
        return "", ""
    if bar and not label:  # the pipe trick: what stands before brackets or a comma
        return target.partition(":")[2].partition(" (")[0].partition(",")[0] or target, ""
    return label or target, ""
