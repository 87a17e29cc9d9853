"""Many patients per clinician: components, precision of clinician means, planning."""
