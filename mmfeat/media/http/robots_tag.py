"""The header `X-Robots-Tag`, by which servers exclude files from training, as img2dataset reads it.

X-Robots-Tag: noai, noimageai           for every program
X-Robots-Tag: otherbot: noindex, noai   for the program otherbot only
"""

from collections.abc import Iterable

USER_AGENT = "mmfeat"
"""The name of this program in the headers of web servers."""

EXCLUDING_DIRECTIVES = frozenset(["noai", "noimageai", "noindex", "noimageindex"])

_DIRECTIVES_WITH_VALUES = frozenset(
    ["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"]
)


def excluding_directive(headers: Iterable[str]) -> str:
    """Return the first directive that excludes a file from training; empty if none does.

    Args:
        headers: the values of all headers `X-Robots-Tag` of a response.
    """
    for header in headers:
        user_agent = ""
        for part in header.lower().split(","):
            name, colon, rest = (text.strip() for text in part.partition(":"))
            if colon and name in _DIRECTIVES_WITH_VALUES:
                continue
            directive = name
            if colon:
                user_agent, directive = name, rest
            if user_agent in ("", "*", USER_AGENT) and directive in EXCLUDING_DIRECTIVES:
                return directive
    return ""
