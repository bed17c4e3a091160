"""The paper's measured results (Tables IV and VII, Fig. 5 to 7) beside what follows from Eq. 8."""
