"""Questionnaires on paper: printed, typed in twice, compared and decided."""
