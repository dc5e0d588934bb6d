"""Studies of the method: scenes with exact truth, masks with known errors, many variants.

They use the core and the workflow as a user would. Neither depends on them.
"""
