"""What people said: votes of a listening test read, checked, screened and averaged, with how far listeners agree."""
