import pytest

from mmfeat.media.http.robots_tag import excluding_directive


@pytest.mark.parametrize(
    ("headers", "directive"),
    [
        ([], ""),
        ([""], ""),
        (["index, follow"], ""),
        (["nofollow, noarchive"], ""),
        (["noai"], "noai"),
        (["noimageai"], "noimageai"),
        (["noindex"], "noindex"),
        (["noimageindex"], "noimageindex"),
        (["  NoAI ,NOFOLLOW"], "noai"),
        (["nofollow,noimageai"], "noimageai"),
        (["nofollow", "noindex"], "noindex"),
        (["otherbot: noindex"], ""),
        (["otherbot: nofollow, noindex"], ""),
        (["mmfeat: noai"], "noai"),
        (["MMFEAT : nofollow, noai"], "noai"),
        (["*: noai"], "noai"),
        (["otherbot: noindex, mmfeat: noai"], "noai"),
        (["noai, otherbot: noindex"], "noai"),
        (["otherbot: noindex", "noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST"], ""),
        (["max-snippet:20, noai"], "noai"),
        (["otherbot: max-snippet:20, noai"], ""),
        (["noaim, snoindex, no ai"], ""),
    ],
)
def test_directives_apply_to_their_user_agent(headers, directive):
    assert excluding_directive(headers) == directive
