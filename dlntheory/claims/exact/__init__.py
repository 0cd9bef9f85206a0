"""Claims on exact solutions: modes, Riccati, neurons, diagonal networks, geometry, landscape."""
