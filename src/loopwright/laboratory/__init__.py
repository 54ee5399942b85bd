"""Evaluations over a whole house: whether one can begin, the road its questions take, the process that runs it."""
