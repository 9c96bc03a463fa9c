"""Text as a hostile log may hold it."""

from __future__ import annotations

from hypothesis import strategies as st

SAMPLES = (
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m",
    "[red]bold[/red] [link=http://192.0.2.1]click[/link] :smile:",
    'a "quoted\\" back\\slash\\N \\',
    "line\nfeed\r\nand\ttab\x0b\x0c\x1c\x85\u2028\u2029",
    "]]> --> <!-- <script>alert(1)</script> &amp; &#34; #quot;",
    "%%{init: {}}%% `markdown` |pipe| ;",
    "lone surrogate \udc80\ud800 noncharacter \uffff\ufffe private \ue000",
    "\u202eoverride\u2066isolate\u200bzero\ufeff",
    "\x7f\x80\x9b2J\x9d",
    "",
    " ",
    "x" * 1_000_000,
    "ab cd " * 200_000,
)

# Every code point, also those that no encoding has.
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)
