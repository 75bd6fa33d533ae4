"""Pipelines: steps that SageMaker runs one after the other: check, train, evaluate, decide, register.

`expressions` are values that are known only while it runs, `definition` makes the JSON of them, `pipeline` is the verb,
`execution` the handle of a run on SageMaker, and `local` runs the same JSON on this machine.
"""
