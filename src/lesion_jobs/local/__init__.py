"""Local mode: jobs and one endpoint on this machine, with Docker, by the SageMaker SDK 2 or 3.

Both SDKs hold a client with the methods of boto3's, which takes the same requests: they need only be opened
differently, a file for each version.
"""
