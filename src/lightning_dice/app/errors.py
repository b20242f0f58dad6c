"""What a sweep ends with; each message is all that a user needs."""


class JobEnded(Exception):  # noqa: N818 - says what happened, and that it is on record
    """A job came to nothing; the message says why. It can be sent between processes."""


class SweepEnded(Exception):  # noqa: N818 - reads as what it says
    """A sweep came to its end, and some of its runs failed; the message says which and why."""
