"""Pages of HTML say what their reader sees of their main part."""

import pytest

from loopwright.documents.document import Parsed
from loopwright.documents.sniffing import HTML
from tests.documents.asking import outcome, parse

PAGE = """<!doctype html><html lang="en"><head><title>My  page</title><meta name="author" content="Me">
<style>.secret, .x > b { display: none } @media print { .web { display: none } } #gone { visibility: hidden } body { opacity: 0 }</style>
</head><body><nav>Menu</nav><header>Top of the site</header><main><h1>Words &amp; more</h1>
<p>One <b>bold</b> <a href="http://x">link</a>, <img src="data:x" alt="a picture">.</p>
<p class="secret">SECRET 1</p><p id="gone">SECRET 2</p><p style="font-size: 0px">SECRET 3</p><div hidden>SECRET 4</div>
<!-- SECRET 5 --><script>SECRET 6</script><p style="position:absolute; left:-9999px">SECRET 7</p><template>SECRET 8</template>
<p class="web">shown</p><p style="font-size:0.9em">small</p><ul><li>a<ul><li>b</li></ul></li></ul>
<table><caption>Prices</caption><tr><th>A</th><th colspan=2>B|C</th></tr><tr><td rowspan=2>1</td><td>2</td><td>3<br>4</td></tr><tr><td>5</td><td>6</td></tr></table>
<pre>def f():
    return 1</pre></main><footer>Imprint</footer></body></html>"""


def test_a_page_says_what_its_reader_sees_of_its_main_part() -> None:
    parsed = parse(PAGE, "x.html")
    assert parsed.text == (
        "# Words & more\n\nOne **bold** link, a picture.\n\nshown\n\nsmall\n\n- a\n  - b\n\nPrices\n\n"
        "| A | B\\|C | B\\|C |\n| --- | --- | --- |\n| 1 | 2 | 3 4 |\n| 1 | 5 | 6 |\n\n```\ndef f():\n    return 1\n```\n"
    )
    assert (parsed.media_type, parsed.title, parsed.metadata) == (HTML, "My page", {"author": "Me", "language": "en"})
    assert parsed.warnings == ["40 characters that a reader of the page does not see were left out"]


@pytest.mark.parametrize(
    "head", ['<?xml version="1.0" encoding="latin-1"?>\n<html>', "<head><meta charset=latin-1></head>"]
)
def test_a_page_by_its_first_tag_without_a_name(head: str) -> None:
    assert parse(f"{head}<body><p>café</p></body>".encode("latin-1")).text == "café\n"


def test_a_page_that_a_script_shows_is_read_all_the_same() -> None:
    parsed = parse("<html><style>.page{display:none}</style><div class=page><p>All of it.</p></div></html>")
    assert parsed.text == "All of it.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252", "shift_jis", "koi8-r"])
def test_a_page_in_the_encoding_it_names(encoding: str) -> None:
    word = {"shift_jis": "日本語", "koi8-r": "привет"}.get(encoding, "café")
    page = f'<html><head><meta charset="{encoding.removesuffix("-sig")}"></head><body><p>{word}</p></body></html>'
    assert parse(page.encode(encoding)).text == word + "\n"


def test_a_page_that_is_nested_too_deeply_is_refused_or_read() -> None:
    found = outcome("<html>" + "<div>" * 50_000 + "deep")
    assert found in ("is nested too deeply", "has no text in it") or (
        isinstance(found, Parsed) and "deep" in found.text
    )
