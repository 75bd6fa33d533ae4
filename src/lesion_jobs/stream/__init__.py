"""Stream: each picture that lands in a bucket is answered by an endpoint; docs/batch.md says how it is set up."""

from lesion_jobs.stream.handler import handle
from lesion_jobs.stream.polling import poll

__all__ = ["handle", "poll"]
