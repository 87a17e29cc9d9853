"""The statistics on any CSV file: `python -m analysis.psychometrics COMMAND DATA.csv … [--json]`.

One module a command, named like it (`one-with-many` in `one_with_many.py`), with

- `add_arguments(parser)`: its options (what several commands share comes from `options`),
- `run(arguments) -> Report`: reads with `table.read_table`, calls the statistics, and returns what to print.

Its name and one line of help stand in `main.COMMANDS`. A `Report` holds the answer twice: `data` for programs
(`--json`, NaN as null) and `sections` for people (titled text tables). Whatever is wrong with the input is an
`AnalysisInputError`: `main` prints it as one line on standard error and ends with status 2. Nothing here computes a
statistic.
"""
