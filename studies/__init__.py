"""Studies of the method: scenes with exact truth, masks with known errors, many variants.

They use the core and the workflow as any user may, and neither knows of them.
"""
