"""What is asked of a whole house at once: evaluations with the road their questions take, and searches."""
