"""The one error that a caller of the statistics has to expect."""


class AnalysisInputError(ValueError):
    """The data given cannot answer the question asked; the message says what is required and what to do.

    Messages name items, counts and remedies, never a respondent's answer.
    """
