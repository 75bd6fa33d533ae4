"""Requests: what is sent to AWS, as plain dicts. Each file makes one kind; none of them opens a connection.

`validate` holds a request against botocore's own description of the service.
"""
