"""How many anchors, and which?"""
