"""The HTTP/1.1 server's protocol with the gaps of httptools and uvicorn closed."""

from chassis.http_limits import BoundedHttp as EdgeHttp

__all__ = ["EdgeHttp"]
