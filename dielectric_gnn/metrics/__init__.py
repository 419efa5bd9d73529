"""How far a predicted response is from a calculated one."""
