"""Download files from web servers, with limits on bytes, time and addresses."""

from mmfeat.media.http.client import HttpClient, HttpSettings

__all__ = ["HttpClient", "HttpSettings"]
