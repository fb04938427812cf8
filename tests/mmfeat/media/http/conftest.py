from collections.abc import Iterator
from typing import Any

import pytest

from mmfeat.errors import RecordError
from tests.mmfeat.media.http.web_server import GetError, Server, make_client, serve


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serve("127.0.0.1")


@pytest.fixture
def get_error(server: Server) -> GetError:
    def read(path: str, **settings: Any) -> RecordError:
        with pytest.raises(RecordError) as caught:
            make_client(**settings).get(server.url(path))
        assert server.url(path) in caught.value.detail
        return caught.value

    return read
