"""People and attackers made from a seed, played against policies; what each did to both."""
