"""A wiki as its dump's header and its languages describe it: which links lead to pictures, to categories and to other
languages, and which headings stand above what follows an article.
"""

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
_APPENDICES = (
    # English
    "see also|references|external links|further reading|notes|footnotes|citations|bibliography|sources|notes and "
    "references|references and notes|works cited|literature|general references|primary sources|secondary sources|"
    "endnotes|citations and notes|footnotes and references|references and footnotes|explanatory notes|gallery|"
    "selected bibliography|external resources|notes and citations|footnotes and citations|"
    # German
    "siehe auch|einzelnachweise|weblinks|literatur|quellen|anmerkungen|fußnoten|belege|nachweise|anmerkungen und "
    "einzelnachweise|quellen und literatur|literatur und quellen|galerie|weiterführende literatur|externe links|"
    # French
    "voir aussi|références|notes et références|liens externes|articles connexes|bibliographie|annexes|notes|sources|"
    "lien externe|article connexe|pour approfondir|références et notes|notes, sources et références|galerie|"
    # Spanish
    "véase también|referencias|enlaces externos|notas|bibliografía|notas y referencias|fuentes|lecturas adicionales|"
    "referencias y notas|galería|"
    # Italian
    "note|bibliografia|voci correlate|altri progetti|collegamenti esterni|fonti|note al testo|galleria d'immagini|"
    # Portuguese
    "ver também|referências|ligações externas|notas e referências|leitura adicional|galeria|"
    # Dutch
    "zie ook|referenties|externe links|externe link|bronnen|bronnen, noten en/of referenties|noten|voetnoten|"
    "literatuur|bronvermelding|galerij|"
    # Polish
    "zobacz też|przypisy|linki zewnętrzne|uwagi|źródła|"
    # Russian
    "см. также|примечания|ссылки|литература|источники|комментарии|сноски|галерея|"
    # Ukrainian
    "див. також|примітки|посилання|література|джерела|виноски|галерея|"
    # Swedish
    "se även|referenser|externa länkar|källor|noter|fotnoter|vidare läsning|"
    # Norwegian, Danish
    "se også|referanser|eksterne lenker|kilder|fotnoter|litteratur|referencer|eksterne henvisninger|noter|galleri|"
    # Finnish
    "katso myös|lähteet|aiheesta muualla|viitteet|kirjallisuutta|kirjallisuus|"
    # Czech, Slovak
    "reference|související články|externí odkazy|poznámky|zdroje|referencie|externé odkazy|pozri aj|"
    # Hungarian
    "lásd még|források|jegyzetek|további információk|kapcsolódó szócikkek|irodalom|"
    # Romanian
    "vezi și|note|legături externe|bibliografie|note și referințe|lectură suplimentară|"
    # Turkish
    "ayrıca bakınız|kaynakça|dış bağlantılar|notlar|kaynaklar|konuyla ilgili yayınlar|"
    # Catalan
    "vegeu també|referències|enllaços externs|bibliografia complementària|notes i referències|"
    # Vietnamese, Indonesian
    "xem thêm|tham khảo|liên kết ngoài|chú thích|ghi chú|nguồn|lihat pula|lihat juga|referensi|pranala luar|"
    "catatan|daftar pustaka|bacaan lanjutan|catatan kaki|"
    # Japanese, Chinese, Korean
    "脚注|参考文献|関連項目|外部リンク|出典|注釈|注釈・出典|脚注・出典|関連文献|参照|参考资料|參考資料|参考文献|參考文獻|"
    "外部链接|外部連結|外部連接|参见|參見|参看|注释|註釋|注解|註解|相关条目|相關條目|延伸阅读|延伸閱讀|參考|脚注|腳註|"
    "같이 보기|각주|참고 문헌|외부 링크|출처|주석|참고 자료|내용주|"
    # Arabic, Persian, Hebrew
    "انظر أيضا|انظر أيضًا|مراجع|وصلات خارجية|المراجع|المصادر|ملاحظات|مصادر|روابط خارجية|هوامش|"
    "جستارهای وابسته|منابع|پانویس|پیوند به بیرون|یادداشت‌ها|"
    "ראו גם|קישורים חיצוניים|הערות שוליים|לקריאה נוספת|ביאורים|"
    # Esperanto, Serbian, Bulgarian, Greek, Hindi
    "vidu ankaŭ|referencoj|eksteraj ligiloj|notoj|види још|референце|спољашње везе|извори|вижте също|източници|"
    "външни препратки|бележки|δείτε επίσης|παραπομπές|εξωτερικοί σύνδεσμοι|πηγές|σημειώσεις|"
    "इन्हें भी देखें|सन्दर्भ|संदर्भ|बाहरी कड़ियाँ"
)
APPENDICES = frozenset(_APPENDICES.split("|"))


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


def is_appendix(heading: str) -> bool:
    """Whether what stands under this heading is no part of the article's text."""
    return heading.strip().rstrip(":").casefold() in _FOLDED


_FOLDED = frozenset(name.casefold() for name in APPENDICES)
