"""Account: what is asked of an AWS account, and how a request leaves for it: sessions, checks, prices, files, logs."""
