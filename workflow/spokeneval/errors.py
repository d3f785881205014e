"""The two kinds of trouble that spokeneval tells apart.

A `SpokenevalError` is for the person who runs it: it names the file or item, what was expected, what came and
what to do, in a line or two. Jobs print it without a traceback. An `ItemError` concerns one item for good
(unreadable, too long, NaN): it is recorded as a failed row with its reason and never stops the others.
Anything else (out of memory, I/O, a killed process) is transient: it fails the job, and the next run tries again.
"""


class SpokenevalError(Exception):
    """An error whose message is the whole story; shown without a traceback."""


class ConfigError(SpokenevalError):
    """The configuration, or something that it names, cannot be used."""


class ArtefactError(SpokenevalError):
    """An artefact on disk is not what it says it is (schema, identity, digest)."""


class ItemError(SpokenevalError):
    """One item cannot be processed, now or later. Its message becomes the `reason` of a failed row."""
