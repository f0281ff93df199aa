"""What does merging gain, and whose gain is it?"""
