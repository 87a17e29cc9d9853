"""Inference under clustering: rules for few clinicians, resampling of whole clinicians, CR2, one-way components."""
