"""Two people on one relationship: agreement, gaps, similarity, reciprocity, actor and partner effects, congruence."""
