"""PURE: the child's variables: whose value wins, and how they are written to files and read from them.

Touches nothing, and imports nothing but the standard library and the model.
"""
