"""Training problems with exact solutions, shared by the tests of every integrator and reduction."""
