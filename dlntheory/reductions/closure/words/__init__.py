"""Matrix equations: noncommutative monomials in the matrices of φ, closed under the flow."""
