"""The shared words: frozen values and errors, standard library only, no behaviour beyond validation.

Every room may import it; it imports none.
"""
