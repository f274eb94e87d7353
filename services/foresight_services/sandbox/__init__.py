"""Runs code that nobody trusts, and tests it.

`port` is what callers see, `code_sandbox` the engine.

What happens outside: `bubblewrap` or `bare` say how the first process starts, `process` starts it
and ends it, `execution` bounds it; `inspection`, `controls` and `report` say what tests there are
and what became of them. What happens inside: `supervisor`, `unittest_harness`, `machinery` and
`assertions`, whose text is all that the sandbox sees of this package. `docs/sandbox.md` says what
holds and what does not.
"""
