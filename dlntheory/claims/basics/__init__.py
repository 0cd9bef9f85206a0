"""The first claims: what every later one rests on."""
