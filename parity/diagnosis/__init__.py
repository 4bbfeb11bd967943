"""What of a layer is wrong: one operand of it is changed at a time until its output comes out."""
